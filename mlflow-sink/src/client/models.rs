//! Logged models, which MLflow has since version 3. A server without them says [`ClientError::Unsupported`].

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Call, ClientError};
use super::files::Store;
use super::wire::{self, pairs};
use super::{CALL_TIMEOUT, Client, READ_PATIENCE};
use crate::projection::logged_model::LoggedModel;

/// Most models that are looked at for one tag; there is one, or two when a request was carried out twice.
const MAX_FOUND: u32 = 10;
/// MLflow's word for a model whose files are all there.
const READY: &str = "LOGGED_MODEL_READY";

/// A logged model the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundModel {
    /// MLflow's id.
    pub id: String,
    /// Its experiment.
    pub experiment_id: String,
    /// Everything of it is there.
    pub is_ready: bool,
    /// Where its files lie.
    pub store: Store,
}

#[derive(Deserialize)]
struct ModelAnswer {
    model: WireModel,
}

#[derive(Deserialize)]
struct ModelsAnswer {
    #[serde(default)]
    models: Vec<WireModel>,
}

#[derive(Deserialize)]
struct WireModel {
    info: WireInfo,
}

#[derive(Deserialize)]
struct WireInfo {
    model_id: String,
    experiment_id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    artifact_uri: String,
}

impl From<WireModel> for FoundModel {
    fn from(model: WireModel) -> Self {
        let info = model.info;
        Self {
            id: info.model_id,
            experiment_id: info.experiment_id,
            is_ready: info.status == READY,
            store: Store::of(&info.artifact_uri),
        }
    }
}

impl Client {
    /// True when the server has logged models at all.
    pub async fn has_logged_models(&self, experiment: &str) -> Result<bool, ClientError> {
        match self.search_models(experiment, None).await {
            Ok(_) => Ok(true),
            Err(ClientError::Unsupported { words, .. }) => {
                tracing::debug!(words, "this MLflow has no logged models");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The logged models of an experiment that are not deleted and carry this tag.
    pub async fn logged_models(
        &self,
        experiment: &str,
        tag: (&str, &str),
    ) -> Result<Vec<FoundModel>, ClientError> {
        self.search_models(experiment, Some(tag)).await
    }

    /// A logged model by its id, deleted ones included.
    pub async fn logged_model(&self, id: &str) -> Result<Option<FoundModel>, ClientError> {
        let path = format!("logged-models/{id}");
        let request = self.wire.request(Method::GET, &path).query(&[("allow_deleted", "true")]);
        let answer: Result<ModelAnswer, _> = self.wire.call(optional(&path), request, READ_PATIENCE).await;
        match answer {
            Ok(answer) => Ok(Some(answer.model.into())),
            Err(ClientError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a logged model, pending, and gives its id.
    pub async fn create_logged_model(
        &self,
        experiment: &str,
        source_run: &str,
        model: &LoggedModel,
        tag: (&str, &str),
    ) -> Result<String, ClientError> {
        let mut tags = model.tags.clone();
        tags.insert(tag.0.to_owned(), tag.1.to_owned());
        let body = json!({
            "experiment_id": experiment,
            "name": model.name,
            "model_type": model.kind(),
            "source_run_id": source_run,
            "tags": pairs(&tags),
            "params": pairs(&model.params),
        });
        let answer: ModelAnswer = self.of_models(Method::POST, "logged-models", &body).await?;
        Ok(answer.model.info.model_id)
    }

    /// Says that everything of a logged model is there. One that a person deleted stays so.
    pub async fn finish_logged_model(&self, id: &str) -> Result<(), ClientError> {
        let body = json!({"model_id": id, "status": READY});
        let answer: Result<wire::Anything, _> =
            self.of_models(Method::PATCH, &format!("logged-models/{id}"), &body).await;
        gone_is_fine(answer)
    }

    /// Deletes a logged model. One that is not there is deleted.
    pub async fn delete_logged_model(&self, id: &str) -> Result<(), ClientError> {
        let answer: Result<wire::Anything, _> =
            self.of_models(Method::DELETE, &format!("logged-models/{id}"), &json!({})).await;
        gone_is_fine(answer)
    }

    /// Says that a run made a logged model. Once more changes nothing: MLflow answers that the row is there.
    pub async fn log_output(&self, run: &str, model: &str) -> Result<(), ClientError> {
        let body = json!({"run_id": run, "models": [{"model_id": model, "step": 0}]});
        let answer: Result<wire::Anything, _> = self.of_models(Method::POST, "runs/outputs", &body).await;
        match answer {
            Ok(_) | Err(ClientError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn search_models(
        &self,
        experiment: &str,
        tag: Option<(&str, &str)>,
    ) -> Result<Vec<FoundModel>, ClientError> {
        let filter = tag.map(|(name, value)| format!("tags.`{name}` = '{}'", value.replace('\'', "\\'")));
        let mut body = BTreeMap::from([
            ("experiment_ids", json!([experiment])),
            ("max_results", json!(filter.as_ref().map_or(1, |_| MAX_FOUND))),
        ]);
        body.extend(filter.map(|filter| ("filter", Value::from(filter))));
        let answer: ModelsAnswer = self.of_models(Method::POST, "logged-models/search", &json!(body)).await?;
        Ok(answer.models.into_iter().map(FoundModel::from).collect())
    }

    async fn of_models<A: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<A, ClientError> {
        let patience = if path.ends_with("/search") { READ_PATIENCE } else { CALL_TIMEOUT };
        self.wire.call(optional(path), self.wire.request(method, path).json(body), patience).await
    }
}

fn optional(path: &str) -> Call<'_> {
    Call { is_optional: true, ..Call::needed(path) }
}

fn gone_is_fine(answer: Result<wire::Anything, ClientError>) -> Result<(), ClientError> {
    match answer {
        Ok(_) | Err(ClientError::Missing { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

//! What hangs on a run besides its values, and what is still RUNNING.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::Client;
use super::error::ClientError;
use super::files::Store;
use super::pages::Page;
use super::wire::{self, FoundRun};
use crate::projection::dataset::Dataset;

/// How a run stands at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// MLflow's word for it.
    pub status: String,
    /// Somebody deleted it.
    pub is_deleted: bool,
    /// Milliseconds since 1970.
    pub end_time: Option<i64>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Where its files lie.
    pub store: Store,
}

#[derive(Deserialize)]
struct StandingAnswer {
    run: StandingRun,
}

#[derive(Deserialize)]
struct StandingRun {
    info: StandingInfo,
    #[serde(default)]
    data: StandingData,
}

#[derive(Deserialize)]
struct StandingInfo {
    #[serde(default)]
    status: String,
    #[serde(default)]
    lifecycle_stage: String,
    #[serde(default)]
    end_time: Option<i64>,
    #[serde(default)]
    artifact_uri: String,
}

#[derive(Default, Deserialize)]
struct StandingData {
    #[serde(default)]
    tags: Vec<StandingTag>,
}

#[derive(Deserialize)]
struct StandingTag {
    key: String,
    #[serde(default)]
    value: String,
}

impl Client {
    /// A page of the runs that are RUNNING and carry this tag, oldest first, and where it goes on. Whoever closes them asks
    /// for the first page again: the pages move up.
    pub async fn running(
        &self,
        experiments: &[String],
        (tag, value): (&str, &str),
        page: Page,
    ) -> Result<(Vec<FoundRun>, Option<Page>), ClientError> {
        let value = value.replace('\'', "\\'");
        let body = json!({
            "experiment_ids": experiments,
            "filter": format!("attributes.status = 'RUNNING' AND tags.`{tag}` = '{value}'"),
            "run_view_type": "ACTIVE_ONLY",
            "order_by": ["attributes.start_time ASC"],
        });
        let (runs, next) = self.page::<wire::WireRun>(body, page).await?;
        Ok((runs.into_iter().map(FoundRun::from).collect(), next))
    }

    /// Names a data set a run was trained on. Once more changes nothing.
    pub async fn log_input(&self, run: &str, dataset: &Dataset) -> Result<(), ClientError> {
        let context = json!([{"key": "mlflow.data.context", "value": "training"}]);
        let body = json!({"run_id": run, "datasets": [{"tags": context, "dataset": dataset}]});
        let _: wire::Anything = self.post("runs/log-inputs", &body).await?;
        Ok(())
    }

    /// How a run stands.
    pub async fn standing(&self, run: &str) -> Result<Standing, ClientError> {
        let answer: StandingAnswer = self.get("runs/get", &[("run_id", run)]).await?;
        let StandingRun { info, data } = answer.run;
        let tags = data.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
        let store = Store::of(&info.artifact_uri);
        let is_deleted = info.lifecycle_stage == "deleted";
        Ok(Standing { status: info.status, is_deleted, end_time: info.end_time, tags, store })
    }
}

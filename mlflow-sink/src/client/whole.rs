//! Runs with everything the server has of them, deleted ones included, and what mends them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::error::ClientError;
use super::pages::Page;
use super::wire::{self, HistoryPoint};
use super::{Client, PAGE_EXPERIMENTS};

/// A run as the server has it.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeRun {
    /// MLflow's id.
    pub id: String,
    /// Its experiment.
    pub experiment: String,
    /// MLflow's word for how it stands.
    pub status: String,
    /// It was deleted, and can be restored.
    pub is_deleted: bool,
    /// Milliseconds since 1970.
    pub start_time: i64,
    /// Milliseconds since 1970, when it ended.
    pub end_time: Option<i64>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Parameters.
    pub params: BTreeMap<String, String>,
    /// The last point of each metric.
    pub metrics: Vec<HistoryPoint>,
}

#[derive(Deserialize)]
struct Run {
    info: Info,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize)]
struct Info {
    run_id: String,
    #[serde(default)]
    experiment_id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    lifecycle_stage: String,
    #[serde(default)]
    start_time: i64,
    #[serde(default)]
    end_time: Option<i64>,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    tags: Vec<Pair>,
    #[serde(default)]
    params: Vec<Pair>,
    #[serde(default)]
    metrics: Vec<HistoryPoint>,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
}

impl From<Run> for WholeRun {
    fn from(Run { info, data }: Run) -> Self {
        let map = |pairs: Vec<Pair>| pairs.into_iter().map(|pair| (pair.key, pair.value)).collect();
        Self {
            id: info.run_id,
            experiment: info.experiment_id,
            status: info.status,
            is_deleted: info.lifecycle_stage == "deleted",
            start_time: info.start_time,
            end_time: info.end_time,
            tags: map(data.tags),
            params: map(data.params),
            metrics: data.metrics,
        }
    }
}

/// An experiment, with its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NamedExperiment {
    /// Its id.
    #[serde(rename = "experiment_id")]
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// `active` or `deleted`.
    #[serde(default)]
    lifecycle_stage: String,
}

impl NamedExperiment {
    /// True when somebody deleted it, and its runs with it.
    pub fn is_deleted(&self) -> bool {
        self.lifecycle_stage == "deleted"
    }
}

#[derive(Deserialize)]
struct ExperimentsAnswer {
    #[serde(default)]
    experiments: Vec<NamedExperiment>,
    #[serde(default)]
    next_page_token: Option<String>,
}

impl Client {
    /// Every experiment, deleted ones included.
    pub async fn all_experiments(&self) -> Result<Vec<NamedExperiment>, ClientError> {
        let (mut all, mut page) = (Vec::new(), None::<String>);
        loop {
            let body = json!({"max_results": PAGE_EXPERIMENTS, "view_type": "ALL", "page_token": page});
            let answer: ExperimentsAnswer = self.post("experiments/search", &body).await?;
            let is_last = answer.experiments.is_empty();
            all.extend(answer.experiments);
            match answer.next_page_token.filter(|token| !token.is_empty()) {
                Some(next) if !is_last && page.as_ref() != Some(&next) => page = Some(next),
                Some(_) | None => return Ok(all),
            }
        }
    }

    /// A page of the runs that carry this tag, deleted ones included, oldest first, and where it goes on.
    pub async fn search_whole(
        &self,
        experiments: &[String],
        (tag, value): (&str, &str),
        page: Page,
    ) -> Result<(Vec<WholeRun>, Option<Page>), ClientError> {
        let body = json!({
            "experiment_ids": experiments,
            "filter": format!("tags.`{tag}` = '{}'", value.replace('\'', "\\'")),
            "run_view_type": "ALL",
            "order_by": ["attributes.start_time ASC"],
        });
        let (runs, next) = self.page::<Run>(body, page).await?;
        Ok((runs.into_iter().map(WholeRun::from).collect(), next))
    }

    /// A run by its id, with everything; `None` when the server has none of that id.
    pub async fn whole_run(&self, id: &str) -> Result<Option<WholeRun>, ClientError> {
        #[derive(Deserialize)]
        struct One {
            run: Run,
        }
        match self.get::<One>("runs/get", &[("run_id", id)]).await {
            Ok(answer) => Ok(Some(answer.run.into())),
            Err(ClientError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes back that a run was deleted.
    pub async fn restore_run(&self, id: &str) -> Result<(), ClientError> {
        let _: wire::Anything = self.post("runs/restore", &json!({"run_id": id})).await?;
        Ok(())
    }

    /// Removes a tag; one that is not there is removed.
    pub async fn delete_tag(&self, run: &str, tag: &str) -> Result<(), ClientError> {
        match self.post::<wire::Anything>("runs/delete-tag", &json!({"run_id": run, "key": tag})).await {
            Ok(_) | Err(ClientError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

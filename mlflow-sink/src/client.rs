//! MLflow's REST interface, as far as the sink needs it: one typed method per call.
//!
//! Invariants: every call has a deadline, every answer a bound; a redirect is never followed, so that credentials go
//! nowhere else; every failure knows what to do next ([`error::ClientError::disposition`]); at most
//! [`MAX_CONNECTIONS`] calls are under way at once, more would only queue inside MLflow; a guarded client calls nobody
//! while its [`breaker`] is shut.
//!
//! Deliberately not here: retries. Whoever calls knows what else waits.

mod breadth;
pub mod breaker;
pub mod content;
pub mod error;
pub mod files;
mod halves;
pub mod histories;
mod identity;
pub mod models;
pub mod pages;
mod reuse;
mod transport;
pub mod whole;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;

use crate::projection::split::split;
use crate::projection::{Birth, Closing, RunStatus, Writes};
use breaker::Breaker;
use error::{Call, ClientError};
use pages::Page;
use service_kit::error::CliError;
use service_kit::mlflow::tracking::Tracking;
use transport::Transport;
pub use wire::{Experiment, FoundRun, HistoryPoint};

/// Most calls under way at once; how many there are follows from what they take ([`breadth`]). MLflow with one worker takes
/// no more of them with eight than with two: its interpreter is the limit. One with several workers, or far away, takes
/// more; sixteen bring nothing that eight do not.
pub const MAX_CONNECTIONS: usize = 8;
/// Deadline of a call; a busy server takes its time over a large batch, and a write that is given up may still happen.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Deadline of the first byte of what only reads.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// What is asked to see whether anybody is there.
const PROBE: &str = "experiments/search";
/// Experiments of one page, and experiments one search of runs looks into.
pub const PAGE_EXPERIMENTS: u32 = 500;
/// Values of one page of a metric's history.
const PAGE_POINTS: u32 = 5000;

/// A connection to one tracking server.
#[derive(Debug)]
pub struct Client {
    wire: Transport,
}

impl Client {
    /// A client of a tracking server; connects with the first call.
    ///
    /// # Errors
    /// When certificates cannot be read.
    pub fn new(tracking: Tracking) -> Result<Self, CliError> {
        Ok(Self { wire: Transport::new(tracking, None)? })
    }

    /// A client that calls nobody while MLflow cannot be used, and at first not before a probe was answered. Somebody
    /// has to probe.
    ///
    /// # Errors
    /// When certificates cannot be read.
    pub fn guarded(tracking: Tracking) -> Result<Self, CliError> {
        let breaker = Breaker::new(Instant::now());
        Ok(Self { wire: Transport::new(tracking, Some(watch::Sender::new(breaker)))? })
    }

    /// Where the server is, without credentials.
    pub fn url(&self) -> &str {
        self.wire.url()
    }

    /// The workspace of the server, where one is named.
    pub fn workspace(&self) -> Option<&str> {
        self.wire.workspace()
    }

    /// When the server may be called; none of a client that is not guarded.
    pub fn breaker(&self) -> Option<&watch::Sender<Breaker>> {
        self.wire.breaker()
    }

    /// Waits until a call waits suspiciously long.
    pub async fn suspicion(&self) {
        self.wire.suspicion().await;
    }

    /// True answer of the real interface: reachable, recognised, MLflow. Tells the breaker.
    pub async fn probe(&self) -> Result<(), ClientError> {
        let request = self.wire.request(Method::POST, PROBE).json(&json!({"max_results": 1}));
        self.wire.probe(Call::needed(PROBE), request).await
    }

    /// Finds an experiment, deleted ones included.
    pub async fn experiment(&self, name: &str) -> Result<Option<Experiment>, ClientError> {
        let answer: Result<wire::ExperimentAnswer, _> =
            self.get("experiments/get-by-name", &[("experiment_name", name)]).await;
        match answer {
            Ok(answer) => Ok(Some(answer.experiment)),
            Err(ClientError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an experiment and gives its id.
    pub async fn create_experiment(&self, name: &str) -> Result<String, ClientError> {
        let answer: wire::ExperimentCreated = self.post("experiments/create", &json!({"name": name})).await?;
        Ok(answer.experiment_id)
    }

    /// The experiments that are not deleted, by id.
    pub async fn experiments(&self) -> Result<Vec<String>, ClientError> {
        let mut ids = Vec::new();
        let mut page: Option<String> = None;
        loop {
            let body =
                json!({"max_results": PAGE_EXPERIMENTS, "view_type": "ACTIVE_ONLY", "page_token": page});
            let answer: wire::ExperimentsAnswer = self.post("experiments/search", &body).await?;
            let is_last = answer.experiments.is_empty();
            ids.extend(answer.experiments.into_iter().map(|experiment| experiment.id));
            match answer.next_page_token.filter(|token| !token.is_empty()) {
                Some(next) if !is_last && page.as_ref() != Some(&next) => page = Some(next),
                Some(_) | None => return Ok(ids),
            }
        }
    }

    /// A page of the runs that are not deleted and carry all of these tags, oldest first, and where it goes on.
    pub async fn search(
        &self,
        experiments: &[String],
        tags: &[(&str, &str)],
        page: Page,
    ) -> Result<(Vec<FoundRun>, Option<Page>), ClientError> {
        let filter: Vec<String> = tags
            .iter()
            .map(|(name, value)| format!("tags.`{name}` = '{}'", value.replace('\'', "\\'")))
            .collect();
        let body = json!({
            "experiment_ids": experiments,
            "filter": filter.join(" AND "),
            "run_view_type": "ACTIVE_ONLY",
            "order_by": ["attributes.start_time ASC"],
        });
        let (runs, next) = self.page::<wire::WireRun>(body, page).await?;
        Ok((runs.into_iter().map(FoundRun::from).collect(), next))
    }

    /// Creates a run and gives its id.
    pub async fn create_run(&self, experiment: &str, birth: &Birth) -> Result<String, ClientError> {
        let body = json!({
            "experiment_id": experiment,
            "start_time": birth.start_time,
            "run_name": birth.name,
            "tags": wire::pairs(&birth.tags),
        });
        let answer: wire::RunAnswer = self.post("runs/create", &body).await?;
        Ok(FoundRun::from(answer.run).run_id)
    }

    /// Writes parameters, metrics and tags, in as few requests as MLflow's limits allow.
    pub async fn write(&self, run: &str, writes: Writes) -> Result<(), ClientError> {
        let mut waiting = split(writes);
        waiting.reverse();
        while let Some(batch) = waiting.pop() {
            let body = wire::LogBatch { run_id: run, batch: &batch };
            match self.post::<wire::Anything>("runs/log-batch", &body).await {
                Ok(_) => {}
                // Something before MLflow has a lower limit than MLflow itself.
                Err(too_large @ ClientError::TooLarge { .. }) => {
                    let (first, second) = halves::of(batch).ok_or(too_large)?;
                    waiting.extend([second, first]);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Sets the status of a run.
    pub async fn close(&self, run: &str, closing: &Closing) -> Result<(), ClientError> {
        let mut body = BTreeMap::from([
            ("run_id", json!(run)),
            ("status", json!(closing.status.as_str())),
            ("end_time", json!(closing.end_time)),
        ]);
        if let Some(name) = &closing.name {
            body.insert("run_name", json!(name));
        }
        let _: wire::Anything = self.post("runs/update", &body).await?;
        Ok(())
    }

    /// Takes back that a run ended. MLflow keeps the time of the end until there is another.
    pub async fn reopen(&self, run: &str) -> Result<(), ClientError> {
        let body = json!({"run_id": run, "status": RunStatus::Running.as_str()});
        let _: wire::Anything = self.post("runs/update", &body).await?;
        Ok(())
    }

    /// Removes the tags of a run with these names, but not `kept` ones. A name that ends in a dot stands for all behind it.
    pub async fn remove_tags(
        &self,
        run: &str,
        names: &[&str],
        kept: &BTreeSet<String>,
    ) -> Result<(), ClientError> {
        let answer: wire::RunAnswer = self.get("runs/get", &[("run_id", run)]).await?;
        let is_named = |tag: &str| {
            names.iter().any(|name| tag == *name || (name.ends_with('.') && tag.starts_with(name)))
        };
        for tag in FoundRun::from(answer.run).tags.into_keys() {
            if is_named(&tag) && !kept.contains(&tag) {
                let body = json!({"run_id": run, "key": tag});
                let _: wire::Anything = self.post("runs/delete-tag", &body).await?;
            }
        }
        Ok(())
    }

    /// Every value of a metric the server has.
    pub async fn history(&self, run: &str, key: &str) -> Result<Vec<HistoryPoint>, ClientError> {
        let count = PAGE_POINTS.to_string();
        let mut all = Vec::new();
        let mut page = String::new();
        loop {
            let mut query = vec![("run_id", run), ("metric_key", key), ("max_results", &count)];
            if !page.is_empty() {
                query.push(("page_token", &page));
            }
            let answer: wire::HistoryAnswer = self.get("metrics/get-history", &query).await?;
            let is_last = answer.metrics.is_empty();
            all.extend(answer.metrics);
            match answer.next_page_token.filter(|token| !token.is_empty() && *token != page) {
                Some(next) if !is_last => page = next,
                Some(_) | None => return Ok(all),
            }
        }
    }

    async fn get<A: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<A, ClientError> {
        let request = self.wire.request(Method::GET, path).query(query);
        self.wire.call(Call::needed(path), request, READ_PATIENCE).await
    }

    async fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A, ClientError> {
        let patience = if path.ends_with("/search") { READ_PATIENCE } else { CALL_TIMEOUT };
        self.wire.call(Call::needed(path), self.wire.request(Method::POST, path).json(body), patience).await
    }
}

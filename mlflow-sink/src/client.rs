//! MLflow's REST interface, as far as the sink needs it: one typed method per call.
//!
//! Invariants: every call has a deadline, every answer a bound; a redirect is never followed, so that credentials go
//! nowhere else; every failure knows what to do next ([`error::ClientError::disposition`]); at most
//! [`MAX_CONNECTIONS`] calls are under way at once, more would only queue inside MLflow.
//!
//! Deliberately not here: retries. Whoever calls knows what else waits.

pub mod content;
pub mod error;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::{Method, Response, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::projection::split::split;
use crate::projection::{Birth, Closing, RunStatus, Writes};
use error::ClientError;
use service_kit::mlflow::tracking::{Authorization, Tracking};
pub use wire::{Experiment, FoundRun, HistoryPoint};

/// Calls under way at once: MLflow's own limit is its database, and more connections make it slower, not faster.
pub const MAX_CONNECTIONS: usize = 4;
/// Deadline of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Deadline of a call; a busy server takes its time over a large batch.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// MLflow's server closes idle connections after five seconds; one that is about to be closed is not used any more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// Runs of one page of a search.
const PAGE_RUNS: u32 = 200;
/// Experiments of one page, and experiments one search of runs looks into.
pub const PAGE_EXPERIMENTS: u32 = 500;
/// Values of one page of a metric's history.
const PAGE_POINTS: u32 = 5000;

/// A connection to one tracking server.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    tracking: Tracking,
    connections: Semaphore,
}

impl Client {
    /// A client of a tracking server; connects with the first call.
    pub fn new(tracking: Tracking) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("cerebros-mlflow-sink/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_CONNECTIONS);
        if tracking.is_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ClientError::unreachable("start", &error))?;
        Ok(Self { http, tracking, connections: Semaphore::new(MAX_CONNECTIONS) })
    }

    /// Where the server is, without credentials.
    pub fn url(&self) -> &str {
        self.tracking.url()
    }

    /// True answer of the real interface: reachable, recognised, MLflow.
    pub async fn probe(&self) -> Result<(), ClientError> {
        let _: wire::Anything = self.post("experiments/search", &json!({"max_results": 1})).await?;
        Ok(())
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

    /// Runs that are not deleted and carry all of these tags, oldest first, page by page: the runs, and the token of
    /// the next page.
    pub async fn search(
        &self,
        experiments: &[String],
        tags: &[(&str, &str)],
        page: Option<&str>,
    ) -> Result<(Vec<FoundRun>, Option<String>), ClientError> {
        let filter: Vec<String> = tags
            .iter()
            .map(|(name, value)| format!("tags.`{name}` = '{}'", value.replace('\'', "\\'")))
            .collect();
        let body = json!({
            "experiment_ids": experiments,
            "filter": filter.join(" AND "),
            "run_view_type": "ACTIVE_ONLY",
            "max_results": PAGE_RUNS,
            "order_by": ["attributes.start_time ASC"],
            "page_token": page,
        });
        let answer: wire::SearchAnswer = self.post("runs/search", &body).await?;
        let runs = answer.runs.into_iter().map(FoundRun::from).collect();
        Ok((runs, answer.next_page_token.filter(|token| !token.is_empty())))
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
        for batch in split(writes) {
            let body = wire::LogBatch { run_id: run, batch: &batch };
            let _: wire::Anything = self.post("runs/log-batch", &body).await?;
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
        self.call(path, self.request(Method::GET, path).query(query)).await
    }

    async fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A, ClientError> {
        self.call(path, self.request(Method::POST, path).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/api/2.0/mlflow/{path}", self.tracking.url()));
        match self.tracking.authorization() {
            Authorization::None => request,
            Authorization::Basic { user, password } => request.basic_auth(user, Some(password)),
            Authorization::Token(token) => request.bearer_auth(token),
        }
    }

    async fn call<A: DeserializeOwned>(
        &self,
        path: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<A, ClientError> {
        let _turn = self.connections.acquire().await.expect("the semaphore is never closed");
        let response = request.send().await.map_err(|error| ClientError::unreachable(path, &error))?;
        let status = response.status();
        let retry_after = error::retry_after(response.headers());
        let body = read(path, response).await?;
        if !status.is_success() {
            return Err(ClientError::answered(path, status, retry_after, &body));
        }
        serde_json::from_slice(&body).map_err(|error| ClientError::not_mlflow(path, &error))
    }
}

async fn read(path: &str, mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| ClientError::unreachable(path, &error))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(ClientError::not_mlflow(
                path,
                &format!("the answer is over {MAX_ANSWER_BYTES} bytes"),
            ));
        }
    }
    Ok(body)
}

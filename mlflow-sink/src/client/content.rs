//! What hangs on a run besides its values, and what is still RUNNING.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method};
use schemas::failure::bounded_head;
use serde::Deserialize;
use serde_json::json;

use super::error::ClientError;
use super::wire::{self, FoundRun};
use super::{Client, PAGE_RUNS};
use crate::projection::dataset::Dataset;

/// Deadline of an upload: the largest file there can be, over a slow line.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(180);
/// Longest quote of what the server says about an upload.
const MAX_WORDS: usize = 800;

/// How a run stands at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// MLflow's word for it.
    pub status: String,
    /// Milliseconds since 1970.
    pub end_time: Option<i64>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Where the server keeps its artefacts, when it takes them itself.
    pub artifacts: Option<String>,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upload {
    /// It is there.
    Done,
    /// The server, or what stands behind it, does not take it: why.
    NotTaken(String),
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

/// The place behind the server's own artefact interface; `None` when the artefacts lie elsewhere.
pub(super) fn proxied(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/')?.1,
        None => rest,
    };
    Some(path.trim_matches('/').to_owned())
}

impl Client {
    /// A page of the runs that are RUNNING and carry this tag, oldest first, and the token of the next one. Whoever closes
    /// them asks for the first page again: the pages move up.
    pub async fn running(
        &self,
        experiments: &[String],
        (tag, value): (&str, &str),
        page: Option<&str>,
    ) -> Result<(Vec<FoundRun>, Option<String>), ClientError> {
        let value = value.replace('\'', "\\'");
        let body = json!({
            "experiment_ids": experiments,
            "filter": format!("attributes.status = 'RUNNING' AND tags.`{tag}` = '{value}'"),
            "run_view_type": "ACTIVE_ONLY",
            "max_results": PAGE_RUNS,
            "order_by": ["attributes.start_time ASC"],
            "page_token": page,
        });
        let answer: wire::SearchAnswer = self.post("runs/search", &body).await?;
        let runs = answer.runs.into_iter().map(FoundRun::from).collect();
        Ok((runs, answer.next_page_token.filter(|token| !token.is_empty())))
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
        let artifacts = proxied(&info.artifact_uri);
        Ok(Standing { status: info.status, end_time: info.end_time, tags, artifacts })
    }

    /// Sends a file of so many bytes to its place among the artefacts the server keeps; what is there is replaced. It
    /// waits for no turn: it is seldom, and the database, which the turns protect, has nothing to do with it.
    pub async fn upload(&self, place: &str, bytes: u64, body: Body) -> Result<Upload, ClientError> {
        let call = "mlflow-artifacts";
        let request = self.wire.request(Method::PUT, &format!("../mlflow-artifacts/artifacts/{place}"));
        let request = request.timeout(UPLOAD_TIMEOUT).header(CONTENT_LENGTH, bytes).body(body);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(ClientError::unreachable(call, &error)),
            // The source failed, or it took too long; when it was the server after all, the next call meets that.
            Err(error) => return Ok(Upload::NotTaken(ClientError::unreachable(call, &error).to_string())),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(Upload::Done);
        }
        let mut words = Vec::new();
        while let Ok(Some(piece)) = response.chunk().await {
            words.extend_from_slice(&piece);
            if words.len() > MAX_WORDS {
                break;
            }
        }
        let words = bounded_head(&String::from_utf8_lossy(&words), MAX_WORDS);
        let reason = format!("HTTP {}: {words}", status.as_u16());
        let is_busy = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        // A server that is told to take no files answers 503 too: version 2 "disabled due to ... `--no-serve-artifacts`",
        // version 3 "Artifact serving is disabled ... `--serve-artifacts`".
        if is_busy && !words.contains("serve-artifacts") {
            return Err(ClientError::outage(call, reason));
        }
        Ok(Upload::NotTaken(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_keeps_itself_can_be_sent_to_it() {
        assert_eq!(proxied("mlflow-artifacts:/1/ab/artifacts").as_deref(), Some("1/ab/artifacts"));
        assert_eq!(proxied("mlflow-artifacts://host:5000/1/ab/artifacts").as_deref(), Some("1/ab/artifacts"));
        assert_eq!(proxied("s3://bucket/1/ab/artifacts"), None);
    }
}

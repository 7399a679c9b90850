//! MLflow: there, and willing to talk to us.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use super::Finding;
use crate::endpoints;
use crate::mlflow::http::{self, innermost, is_host_refusal, is_workspace_refusal, tls_remedy};
use crate::mlflow::tracking::Tracking;
use crate::mlflow::{DEFAULT_MLFLOW, ServerArgs};

/// Deadline of the question; shorter than that of a check, so that its own words are heard.
const DEADLINE: Duration = Duration::from_secs(5);

/// One experiment, with all its tags.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What MLflow answers to a question of its own interface.
#[derive(Debug)]
enum Answer {
    /// As MLflow does.
    Mlflow,
    /// It does not know us.
    Refused(StatusCode),
    /// It does not know itself by the name we call it by.
    Misnamed,
    /// It has no such workspace.
    Misplaced,
    /// Its certificate, or ours, will not do: what was said, and the remedy.
    Distrusted(String, &'static str),
    /// As something else does.
    Stranger(String),
    /// Nobody, or somebody who says "later".
    Nobody(String),
}

/// Asks MLflow's own interface.
pub async fn check(args: &ServerArgs, data_dir: &Path) -> Finding {
    let stack = endpoints::running(data_dir);
    if args.given().is_none() && stack.as_ref().is_some_and(|stack| stack.mlflow.is_none()) {
        return Finding::ok("the running stack was started without it");
    }
    let tracking = match args.tracking(data_dir) {
        Ok(tracking) => tracking,
        Err(error) => return Finding::of(error),
    };
    let client = match http::client(&tracking, |client| client.timeout(DEADLINE)) {
        Ok(client) => client,
        Err(error) => return Finding::of(error),
    };
    match ask(&client, &tracking).await.unwrap_or_else(|error| unheard(&error)) {
        Answer::Mlflow => Finding::ok(format!("answers at {}", tracking.url())),
        Answer::Refused(status) => Finding::error(
            format!("{} does not let us in: HTTP {}", tracking.url(), status.as_u16()),
            "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; \
             until this is changed the sink waits and loses nothing",
        ),
        Answer::Misnamed => Finding::error(
            format!("the server at {} does not know itself by this name", tracking.url()),
            "start it with --allowed-hosts, or use an address it allows; until this is changed the sink waits and loses \
             nothing",
        ),
        Answer::Misplaced => Finding::error(
            format!(
                "the server at {} has no workspace {:?}",
                tracking.url(),
                tracking.workspace().unwrap_or_default()
            ),
            "correct MLFLOW_WORKSPACE, or unset it when the server has no workspaces; until this is changed the sink waits \
             and loses nothing",
        ),
        Answer::Distrusted(words, remedy) => {
            Finding::error(format!("{} is not trusted: {words}", tracking.url()), remedy)
        }
        Answer::Stranger(answer) => Finding::error(
            format!("what answers at {} is not MLflow ({answer})", tracking.url()),
            "correct MLFLOW_TRACKING_URI: the address of an MLflow tracking server of version 2 or 3",
        ),
        // Nobody asked for one: a pipeline without MLflow is a pipeline all the same.
        Answer::Nobody(reason) if args.given().is_none() && stack.is_none() => Finding::warning(
            format!("none at {DEFAULT_MLFLOW}: {reason}"),
            "`cerebros up` starts one; MLFLOW_TRACKING_URI names another",
        ),
        Answer::Nobody(reason) => Finding::error(
            format!("no answer from {}: {reason}", tracking.url()),
            "start it, or correct MLFLOW_TRACKING_URI; the sink waits for it",
        ),
    }
}

async fn ask(client: &reqwest::Client, tracking: &Tracking) -> Result<Answer, reqwest::Error> {
    #[derive(Deserialize)]
    struct Experiments {}
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let url = format!("{}/api/2.0/mlflow/experiments/search", tracking.url());
    let request = client.post(url).json(&serde_json::json!({"max_results": 1}));
    let response = tracking.signed(request).send().await?;
    let status = response.status();
    let body = beginning(response).await?;
    Ok(match status {
        StatusCode::OK => match serde_json::from_slice(&body) {
            Ok(Experiments {}) => Answer::Mlflow,
            Err(error) => Answer::Stranger(error.to_string()),
        },
        _ if serde_json::from_slice(&body).is_ok_and(|said: Said| is_workspace_refusal(&said.message)) => {
            Answer::Misplaced
        }
        StatusCode::FORBIDDEN if is_host_refusal(&String::from_utf8_lossy(&body)) => Answer::Misnamed,
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Answer::Refused(status),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Answer::Nobody(format!("HTTP {}", status.as_u16()))
        }
        status => Answer::Stranger(format!("HTTP {}", status.as_u16())),
    })
}

/// No more of the answer than one experiment takes.
async fn beginning(mut response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        body.extend_from_slice(&part);
        if body.len() > MAX_ANSWER_BYTES {
            break;
        }
    }
    Ok(body)
}

/// No answer at all.
fn unheard(error: &reqwest::Error) -> Answer {
    let words = innermost(error);
    match tls_remedy(&words) {
        Some(remedy) => Answer::Distrusted(words, remedy),
        None => Answer::Nobody(words),
    }
}

//! What an answer that is no success means: one table, [`ClientError::answered`].
//!
//! Invariant: only what MLflow itself says (a 4xx with its `error_code`) can make an event a dead letter. Whatever a
//! gateway, a proxy or a broken server says instead is waited for, and so is a database in trouble, for which MLflow
//! blames the request ([`database`]). The one exception is a single write that is too large for what stands in between.

use std::time::Duration;

use reqwest::StatusCode;
use schemas::failure::bounded_head;
use serde::Deserialize;
use service_kit::mlflow::http::{is_host_refusal, is_workspace_refusal};

use super::database::{self, Complaint};
use super::{Call, ClientError, Scope};

/// Longest quote of MLflow's words; its messages can carry whole SQL statements.
const MAX_WORDS: usize = 800;

impl ClientError {
    /// The table: what an answer that is no success means.
    pub(in crate::client) fn answered(
        call: Call<'_>,
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Self {
        let Said { code, words, complaint } = Said::read(body);
        let (number, path) = (status.as_u16(), call.path.to_owned());
        let outage = |words: &str, scope: Scope| Self::Outage {
            call: path.clone(),
            reason: format!("HTTP {number}: {words}"),
            retry_after,
            // Who asks to be left alone asks everybody.
            scope: if retry_after.is_some() { Scope::All } else { scope },
        };
        let misconfigured = |words: &str, remedy: &str, scope: Scope| Self::Misconfigured {
            call: path.clone(),
            reason: format!("HTTP {number}: {words}; {remedy}"),
            scope,
        };
        match (number, code.as_deref()) {
            (300..=399, _) => misconfigured(&words, ELSEWHERE, Scope::All),
            (401, _) => misconfigured(&words, CREDENTIALS, Scope::All),
            (403, None) if is_host_refusal(&words) => misconfigured(&words, HOST_NAME, Scope::All),
            (403, None) => misconfigured(&words, PERMISSION, Scope::Lane),
            (
                _,
                Some(
                    "FEATURE_DISABLED"
                    | "RESOURCE_DOES_NOT_EXIST"
                    | "INVALID_PARAMETER_VALUE"
                    | "BAD_REQUEST",
                ),
            ) if is_workspace_refusal(&words) => misconfigured(&words, WORKSPACE, Scope::All),
            (413, _) => Self::TooLarge { call: path, words },
            (500 | 504, _) if call.is_divisible && retry_after.is_none() => {
                Self::Unwieldy { call: path, reason: format!("HTTP {number}: {words}") }
            }
            (501, _) if call.is_optional => Self::Unsupported { call: path, words },
            (501, _) => misconfigured(&words, NO_INTERFACE, Scope::All),
            (503, _) if call.is_optional && words.contains("disabled due to") => {
                Self::Unsupported { call: path, words }
            }
            (_, Some("RESOURCE_DOES_NOT_EXIST" | "NOT_FOUND")) => Self::Missing { words },
            (_, Some("RESOURCE_ALREADY_EXISTS" | "ALREADY_EXISTS")) => Self::Exists { words },
            (404 | 405, _) if call.is_optional => Self::Unsupported { call: path, words },
            (404 | 405, _) => misconfigured(&words, NO_INTERFACE, Scope::All),
            (408 | 425 | 429 | 499 | 502..=504, _) => outage(&words, Scope::All),
            (409 | 500.., _) => outage(&words, Scope::Lane),
            (400, Some("BAD_REQUEST")) if complaint == Some(Complaint::Race) => {
                Self::Conflict { call: path, words }
            }
            (400, Some("BAD_REQUEST")) if complaint == Some(Complaint::Itself) => {
                outage(&format!("its database is in trouble: {words}"), Scope::Lane)
            }
            (400, Some(_)) if words.contains("must be in the 'active' state") => {
                Self::Deleted { call: path, words }
            }
            (_, Some(code)) => Self::Refused { call: path, code: code.to_owned(), words },
            (_, None) => misconfigured(&words, STRANGER, Scope::Lane),
        }
    }

    /// True when MLflow itself does not let this user do it.
    pub(in crate::client) fn is_denied(&self) -> bool {
        matches!(self, Self::Misconfigured { reason, .. } if reason.starts_with(DENIED))
    }
}

const ELSEWHERE: &str =
    "it points elsewhere, and credentials are not carried on; set MLFLOW_TRACKING_URI to the final address";
const CREDENTIALS: &str = "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, ~/.mlflow/credentials, or MLFLOW_TRACKING_TOKEN";
const HOST_NAME: &str = "the server does not know itself by this name: start it with --allowed-hosts, or use an \
                         address it allows";
const WORKSPACE: &str = "correct MLFLOW_WORKSPACE, or unset it when the server has no workspaces";
const PERMISSION: &str = "give this user the right to write there, or use another one's credentials";
/// How MLflow's own guard begins, with its status; what stands in between has other words.
const DENIED: &str = "HTTP 403: Permission denied";
const NO_INTERFACE: &str = "there is no MLflow interface at this address; check MLFLOW_TRACKING_URI";
const STRANGER: &str = "this is not MLflow's answer but of something in between (a gateway, a proxy); let it pass \
                        MLflow's interface, or correct MLFLOW_TRACKING_URI";

/// What an error answer says: MLflow's JSON, or whatever stands in the way of it.
struct Said {
    code: Option<String>,
    words: String,
    /// What the database behind it complains of.
    complaint: Option<Complaint>,
}

#[derive(Deserialize)]
struct Body {
    error_code: String,
    #[serde(default)]
    message: String,
}

impl Said {
    fn read(body: &[u8]) -> Self {
        let (code, text) = match serde_json::from_slice::<Body>(body) {
            Ok(body) => (Some(body.error_code), body.message),
            Err(_) => (None, String::from_utf8_lossy(body).into_owned()),
        };
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // What tells stands at the end of what may be long.
        let complaint = database::complaint(&flat);
        Self { code, words: bounded_head(&flat, MAX_WORDS), complaint }
    }
}

#[cfg(test)]
mod tests;

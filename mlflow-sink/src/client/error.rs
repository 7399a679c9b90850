//! Why a call to MLflow failed, and what to do next: one table, [`ClientError::answered`].
//!
//! Invariant: only what MLflow itself says (a 4xx with its `error_code`) can make an event a dead letter. Whatever a
//! gateway, a proxy or a broken server says instead is waited for, and so is a database in trouble, for which MLflow
//! blames the request ([`database`]). The one exception is a single write that is too large for what stands in between.

mod database;
mod retry_after;

use std::time::Duration;

use reqwest::StatusCode;
use schemas::failure::bounded_head;
use serde::Deserialize;
use service_kit::mlflow::http::{innermost, is_host_refusal, is_workspace_refusal, tls_remedy};

use database::Complaint;
pub(super) use retry_after::retry_after;

/// Longest quote of MLflow's words; its messages can carry whole SQL statements.
const MAX_WORDS: usize = 800;

/// Why a call to MLflow failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No answer, or one that says "later".
    #[error("MLflow did not do {call}: {reason}")]
    Outage {
        /// What was asked.
        call: String,
        /// Why not.
        reason: String,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
        /// Whom it concerns.
        scope: Scope,
    },
    /// The server, our address of it or our credentials are set up wrong: no event can be written until somebody
    /// changes that, and none is at fault.
    #[error("MLflow cannot be used for {call}: {reason}")]
    Misconfigured {
        /// What was asked.
        call: String,
        /// What is wrong, and the remedy.
        reason: String,
        /// Whom it concerns.
        scope: Scope,
    },
    /// The server does not have this part of the interface, or has it switched off.
    #[error("this MLflow does not offer {call}: {words}")]
    Unsupported {
        /// What was asked.
        call: String,
        /// The server's words.
        words: String,
    },
    /// What was named does not exist, or not any more.
    #[error("MLflow has it no more: {words}")]
    Missing {
        /// MLflow's words.
        words: String,
    },
    /// There is one already.
    #[error("MLflow has it already: {words}")]
    Exists {
        /// MLflow's words.
        words: String,
    },
    /// Somebody else wrote the same at the same moment: what is there now has to be looked up.
    #[error("somebody else wrote the same during {call}: {words}")]
    Conflict {
        /// What was asked.
        call: String,
        /// MLflow's words.
        words: String,
    },
    /// A person deleted the run or the experiment; only a person restores it.
    #[error(
        "MLflow refused {call}, because it is deleted: {words}; restore it with `mlflow runs restore` or \
         `mlflow experiments restore`, then replay"
    )]
    Deleted {
        /// What was asked.
        call: String,
        /// MLflow's words.
        words: String,
    },
    /// More than the server, or what stands before it, takes at once.
    #[error("MLflow refused {call} as too large: {words}")]
    TooLarge {
        /// What was asked.
        call: String,
        /// The server's words.
        words: String,
    },
    /// More than is read at once, or than the server manages in time.
    #[error("MLflow's answer to {call} is too much at once: {reason}")]
    Unwieldy {
        /// What was asked.
        call: String,
        /// What it came to.
        reason: String,
    },
    /// MLflow will never take it.
    #[error("MLflow refused {call} with {code}: {words}")]
    Refused {
        /// What was asked.
        call: String,
        /// MLflow's error code.
        code: String,
        /// MLflow's words.
        words: String,
    },
}

/// Whom a failure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that would be written.
    All,
    /// Perhaps only this one write: other runs go on, unless theirs fail too.
    Lane,
    /// Not MLflow at all but what is ours, the disk or the broker: nobody stops calling MLflow for it.
    Ours,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Wait, at least so long, and do the same again.
    Wait(Duration, Scope),
    /// What we remember is wrong: look it up again.
    LookUp,
    /// Somebody else was faster: look up what there is now, and do it again, a few times.
    Again,
    /// Give this write up.
    Refuse,
}

/// What is asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call<'a> {
    /// Path of the interface.
    pub(super) path: &'a str,
    /// Not every MLflow has it, and we can do without.
    pub(super) is_optional: bool,
    /// It can be asked for in parts, should the whole be too much.
    pub(super) is_divisible: bool,
}

impl<'a> Call<'a> {
    /// One that nothing goes without.
    pub(super) fn needed(path: &'a str) -> Self {
        Self { path, is_optional: false, is_divisible: false }
    }
}

impl ClientError {
    /// What to do next.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Outage { retry_after, scope, .. } => {
                Disposition::Wait(retry_after.unwrap_or_default(), *scope)
            }
            Self::Misconfigured { scope, .. } => Disposition::Wait(Duration::ZERO, *scope),
            Self::Missing { .. } => Disposition::LookUp,
            Self::Conflict { .. } => Disposition::Again,
            Self::Exists { .. }
            | Self::Deleted { .. }
            | Self::TooLarge { .. }
            | Self::Unwieldy { .. }
            | Self::Unsupported { .. }
            | Self::Refused { .. } => Disposition::Refuse,
        }
    }

    /// True when MLflow itself does not let this user do it.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Misconfigured { reason, .. } if reason.starts_with(DENIED))
    }

    /// An outage for everybody.
    pub(super) fn outage(call: &str, reason: impl std::fmt::Display) -> Self {
        Self::Outage {
            call: call.to_owned(),
            reason: reason.to_string(),
            retry_after: None,
            scope: Scope::All,
        }
    }

    /// It took too long.
    pub(super) fn slow(call: Call<'_>) -> Self {
        let (path, reason) = (call.path, "no answer in time");
        if call.is_divisible {
            return Self::Unwieldy { call: path.to_owned(), reason: reason.to_owned() };
        }
        Self::outage(path, reason)
    }

    pub(super) fn unreachable(call: &str, error: &reqwest::Error) -> Self {
        let reason = innermost(error);
        match tls_remedy(&reason) {
            Some(remedy) => Self::Misconfigured {
                call: call.to_owned(),
                reason: format!("{reason}; {remedy}"),
                scope: Scope::All,
            },
            None => Self::outage(call, reason),
        }
    }

    pub(super) fn not_mlflow(call: &str, error: &impl std::fmt::Display) -> Self {
        Self::outage(call, format!("the answer is not MLflow's ({error}); check MLFLOW_TRACKING_URI"))
    }

    /// The table: what an answer that is no success means.
    pub(super) fn answered(
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

//! Why a call to MLflow failed, and what to do next.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use schemas::failure::bounded_head;
use serde::Deserialize;

/// Longest quote of MLflow's words; its messages can carry whole SQL statements.
const MAX_WORDS: usize = 800;
/// Longest pause a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

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
    },
    /// The server, our address of it or our credentials are set up wrong: no event can be written until somebody
    /// changes that, and none is at fault.
    #[error("MLflow cannot be used for {call}: {reason}")]
    Misconfigured {
        /// What was asked.
        call: String,
        /// What is wrong, and the remedy.
        reason: String,
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
    /// MLflow will never take it.
    #[error("MLflow refused {call} with {code}: {words}")]
    Refused {
        /// What was asked.
        call: String,
        /// MLflow's error code, else the HTTP status.
        code: String,
        /// MLflow's words.
        words: String,
    },
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Wait, at least so long, and do the same again.
    Wait(Duration),
    /// What we remember is wrong: look it up again.
    LookUp,
    /// Give this write up.
    Refuse,
}

impl ClientError {
    /// What to do next.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Outage { retry_after, .. } => Disposition::Wait(retry_after.unwrap_or_default()),
            Self::Misconfigured { .. } => Disposition::Wait(Duration::ZERO),
            Self::Missing { .. } => Disposition::LookUp,
            Self::Exists { .. } | Self::Refused { .. } => Disposition::Refuse,
        }
    }

    pub(super) fn unreachable(call: &str, error: &reqwest::Error) -> Self {
        // Its own words name the URL and hide the cause, which is the last link of the chain.
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let reason = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
        Self::Outage { call: call.to_owned(), reason, retry_after: None }
    }

    pub(super) fn not_mlflow(call: &str, error: &impl std::fmt::Display) -> Self {
        let reason = format!("the answer is not MLflow's ({error}); check MLFLOW_TRACKING_URI");
        Self::Misconfigured { call: call.to_owned(), reason }
    }

    pub(super) fn answered(
        call: &str,
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Self {
        let said = Said::read(status, body);
        let call = call.to_owned();
        let misconfigured = |remedy: &str| Self::Misconfigured {
            call: call.clone(),
            reason: format!("HTTP {}: {}; {remedy}", status.as_u16(), said.words),
        };
        if status.is_redirection() {
            return misconfigured(
                "it points elsewhere, and credentials are not carried on; set MLFLOW_TRACKING_URI to the final address",
            );
        }
        match (status.as_u16(), said.code.as_deref()) {
            (401, _) => misconfigured(
                "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
            ),
            (403, None) if said.words.contains("Host header") => misconfigured(
                "the server does not know itself by this name: start it with --allowed-hosts, or use an address it allows",
            ),
            (_, Some("RESOURCE_DOES_NOT_EXIST" | "NOT_FOUND")) => Self::Missing { words: said.words },
            (_, Some("RESOURCE_ALREADY_EXISTS" | "ALREADY_EXISTS")) => Self::Exists { words: said.words },
            (404 | 405, _) => {
                misconfigured("there is no MLflow interface at this address; check MLFLOW_TRACKING_URI")
            }
            (408 | 409 | 425 | 429 | 500.., _) => Self::Outage {
                call,
                reason: format!("HTTP {}: {}", status.as_u16(), said.words),
                retry_after,
            },
            (_, _) => Self::Refused { call, code: said.code.unwrap_or(said.status), words: said.words },
        }
    }
}

/// What an error answer says: MLflow's JSON, or whatever stands in the way of it.
struct Said {
    status: String,
    code: Option<String>,
    words: String,
}

#[derive(Deserialize)]
struct Body {
    error_code: String,
    #[serde(default)]
    message: String,
}

impl Said {
    fn read(status: StatusCode, body: &[u8]) -> Self {
        let (code, text) = match serde_json::from_slice::<Body>(body) {
            Ok(body) => (Some(body.error_code), body.message),
            Err(_) => (None, String::from_utf8_lossy(body).into_owned()),
        };
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { status: format!("HTTP {}", status.as_u16()), code, words: bounded_head(&flat, MAX_WORDS) }
    }
}

/// The pause a server asks for, in seconds. A date is not understood: the sink's own pauses do then.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> ClientError {
        ClientError::answered("runs/create", StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
    }

    fn json(code: &str) -> String {
        format!("{{\"error_code\": \"{code}\", \"message\": \"because\"}}")
    }

    #[test]
    fn a_refusal_carries_mlflow_s_words() {
        let error = answered(400, &json("INVALID_PARAMETER_VALUE"));
        assert_eq!(error.disposition(), Disposition::Refuse);
        assert_eq!(error.to_string(), "MLflow refused runs/create with INVALID_PARAMETER_VALUE: because");
        assert_eq!(answered(403, "Permission denied").disposition(), Disposition::Refuse);
        assert_eq!(
            answered(413, "too large").to_string(),
            "MLflow refused runs/create with HTTP 413: too large"
        );
    }

    #[test]
    fn a_server_in_trouble_is_waited_for() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(answered(status, "<html>").disposition(), Disposition::Wait(_)), "{status}");
        }
        assert!(matches!(answered(500, &json("INTERNAL_ERROR")).disposition(), Disposition::Wait(_)));
    }

    #[test]
    fn a_wrong_address_or_credential_is_nobody_s_event_s_fault() {
        let cases = [
            (403, "Invalid Host header - possible DNS rebinding attack detected", "--allowed-hosts"),
            (401, "You are not authenticated", "MLFLOW_TRACKING_TOKEN"),
            (404, "<!doctype html>Not Found", "MLFLOW_TRACKING_URI"),
            (302, "", "final address"),
        ];
        for (status, body, remedy) in cases {
            let error = answered(status, body);
            assert!(matches!(error, ClientError::Misconfigured { .. }), "{error}");
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }

    #[test]
    fn what_vanished_is_looked_up_again() {
        assert_eq!(answered(404, &json("RESOURCE_DOES_NOT_EXIST")).disposition(), Disposition::LookUp);
    }

    #[test]
    fn a_server_may_ask_for_a_pause_but_not_for_ever() {
        let asked = |value: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]));
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(asked("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}

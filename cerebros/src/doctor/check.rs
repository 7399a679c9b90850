//! One check: what was looked at, how it is, what helps.

use std::time::Duration;

use serde::Serialize;

/// How long one check may take.
const DEADLINE: Duration = Duration::from_secs(6);

/// How something is. The worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Ok,
    Warning,
    Error,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One line of the doctor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) status: Status,
    pub(super) message: String,
    pub(super) remedy: Option<String>,
}

/// What a check found; its name is the caller's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    status: Status,
    message: String,
    remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(message: impl Into<String>) -> Self {
        Self { status: Status::Ok, message: message.into(), remedy: None }
    }

    pub(super) fn warning(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Warning, message: message.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn error(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Error, message: message.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn named(self, name: &'static str) -> Check {
        Check { name, status: self.status, message: self.message, remedy: self.remedy }
    }
}

/// Makes a check within its deadline.
pub(super) async fn bounded(name: &'static str, look: impl Future<Output = Finding>) -> Check {
    let late = || {
        let message = format!("no answer within {} s", DEADLINE.as_secs());
        Finding::error(message, "something swallows the question: check network and load")
    };
    tokio::time::timeout(DEADLINE, look).await.unwrap_or_else(|_| late()).named(name)
}

//! Why a call to MLflow failed, and what to do next. What an answer means is told by one table,
//! [`ClientError::answered`].

mod answered;
mod call;
mod database;
mod retry_after;

use std::time::Duration;

use service_kit::mlflow::http::{innermost, tls_remedy};

pub(super) use call::Call;
pub(super) use retry_after::retry_after;

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
}

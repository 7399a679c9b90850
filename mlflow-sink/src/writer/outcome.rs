//! What came of a write, and what its failures mean for the events in hand.

use std::time::Duration;

use service_kit::births::BirthsError;
use service_kit::registry::RegistryError;

use crate::client::error::{ClientError, Disposition, Scope};
use crate::ledger::LedgerError;

/// Times something is written over which others race with us.
pub(super) const MAX_TRIES: u32 = 3;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// MLflow has it.
    Written,
    /// MLflow will never take it: its words.
    Refused(String),
}

/// Nothing can be written now; nobody's event is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Why.
    pub reason: String,
    /// Least time to leave the server alone.
    pub pause: Duration,
    /// Whom it concerns.
    pub scope: Scope,
}

/// Why a write did not happen.
#[derive(Debug)]
pub(super) enum Trouble {
    Stopped(Stopped),
    /// What the ledger remembers is not there any more.
    Vanished(String),
    /// Somebody else wrote the same at the same moment.
    Raced(String),
    Refused(String),
}

/// What came of a write, unless somebody else was faster and it is to be tried again. The last time that is a refusal.
pub(super) fn again<T>(written: Result<T, Trouble>, tries_left: u32) -> Option<Result<T, Trouble>> {
    match written {
        Err(Trouble::Raced(words)) if tries_left > 0 => {
            tracing::info!(words, tries_left, "somebody else was faster; what is there now is looked up");
            None
        }
        Err(Trouble::Raced(words)) => Some(Err(Trouble::Refused(words))),
        other => Some(other),
    }
}

/// A refusal is the end of one event; anything else is the batch's.
pub(super) fn settled(written: Result<(), Trouble>) -> Result<Fate, Trouble> {
    match written {
        Ok(()) => Ok(Fate::Written),
        Err(Trouble::Refused(words)) => Ok(Fate::Refused(words)),
        Err(other) => Err(other),
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        match error.disposition() {
            Disposition::Wait(pause, scope) => {
                Self::Stopped(Stopped { reason: error.to_string(), pause, scope })
            }
            Disposition::LookUp => Self::Vanished(error.to_string()),
            Disposition::Again => Self::Raced(error.to_string()),
            Disposition::Refuse => Self::Refused(error.to_string()),
        }
    }
}

/// A race over what no single event is: the batch is tried again.
pub(super) fn raced(reason: String) -> Stopped {
    Stopped { reason, pause: Duration::ZERO, scope: Scope::Lane }
}

pub(super) fn stopped_by_disk(error: LedgerError) -> Stopped {
    Stopped { pause: Duration::from_secs(1), ..stopped_by_us(&error) }
}

/// What is ours, the disk or the broker, did not do its part.
pub(super) fn stopped_by_us(error: &impl std::fmt::Display) -> Stopped {
    // MLflow stays ready: here is where it is said.
    tracing::warn!(%error, "what is to be written into MLflow waits, and not for MLflow");
    Stopped { reason: error.to_string(), pause: Duration::ZERO, scope: Scope::Ours }
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Self {
        Self::Stopped(stopped_by_disk(error))
    }
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        Self::Stopped(stopped_by_us(&error))
    }
}

impl From<BirthsError> for Trouble {
    fn from(error: BirthsError) -> Self {
        Self::Stopped(stopped_by_us(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::client::breaker::{Breaker, Phase};

    #[test]
    fn what_the_broker_does_not_do_is_no_outage_of_mlflow() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        breaker.probe_answered(now);
        for _ in 0..9 {
            let trouble = Trouble::from(RegistryError::Unavailable("no responders".to_owned()));
            let Trouble::Stopped(stopped) = trouble else { panic!("it is waited for") };
            breaker.batch_failed(&stopped.reason, stopped.scope, false, now, 1.0);
            assert_eq!(breaker.phase(), Phase::Open);
        }
    }
}

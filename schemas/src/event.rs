//! The events: one Rust type per record, and [`Event`] over all of them.

mod ml;
mod run;
mod validate;

pub use ml::{
    FinalStatus, MetricReported, MlRunFinalized, MlRunStarted, RunException, TrialReported, TrialStatus,
};
pub use run::{
    ArtifactRef, Budget, Direction, RunCancelRequested, RunCancelled, RunCompleted, RunFailed,
    RunInterrupted, RunRequested, RunStarted,
};
pub use validate::Invalid;
pub(crate) use validate::{
    MAX_ENTRIES, MAX_NAME_BYTES, MAX_PARALLELISM, MAX_PRIORITY, MAX_TRIALS, is_plain_name,
};

use crate::{Record, RunId};

macro_rules! events {
    ($($record:ident),*) => {
        /// Any event of the contract.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "documented at the records")]
        pub enum Event {
            $($record($record),)*
        }

        impl Event {
            /// Which record it is.
            pub fn record(&self) -> Record {
                match self { $(Self::$record(_) => Record::$record,)* }
            }

            /// Checks what types cannot say: ranges, names, fields that belong together.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self { $(Self::$record(event) => event.validate(),)* }
            }

            /// The event as a JSON value.
            pub fn to_json(&self) -> serde_json::Value {
                match self {
                    $(Self::$record(event) => serde_json::to_value(event),)*
                }.expect("an event has string keys and no failing serializer")
            }

            pub(crate) fn write_json(&self) -> serde_json::Result<Vec<u8>> {
                match self { $(Self::$record(event) => serde_json::to_vec(event),)* }
            }

            pub(crate) fn write_avro(&self, out: &mut Vec<u8>) -> apache_avro::AvroResult<usize> {
                match self { $(Self::$record(event) => crate::codec::avro::write(Record::$record, event, out),)* }
            }

            pub(crate) fn read_json(
                record: Record,
                payload: &[u8],
                unknown: &mut Vec<String>,
            ) -> Result<Self, crate::codec::DecodeError> {
                match record {
                    $(Record::$record => crate::codec::json::read(payload, unknown).map(Self::$record),)*
                }
            }

            pub(crate) fn read_avro(record: Record, datum: &[u8]) -> Result<Self, crate::codec::DecodeError> {
                match record {
                    $(Record::$record => crate::codec::avro::read(record, datum).map(Self::$record),)*
                }
            }
        }

        $(impl From<$record> for Event {
            fn from(event: $record) -> Self { Self::$record(event) }
        })*
    };
}

events!(
    RunRequested,
    RunCancelRequested,
    RunStarted,
    RunCompleted,
    RunFailed,
    RunCancelled,
    RunInterrupted,
    MlRunStarted,
    MlRunFinalized,
    TrialReported,
    MetricReported,
    RunException
);

impl Event {
    /// The run it belongs to; a request may leave it to be derived.
    pub fn run_id(&self) -> Option<&RunId> {
        match self {
            Self::RunRequested(event) => event.run_id.as_ref(),
            Self::RunCancelRequested(event) => Some(&event.run_id),
            Self::RunStarted(event) => Some(&event.run_id),
            Self::RunCompleted(event) => Some(&event.run_id),
            Self::RunFailed(event) => Some(&event.run_id),
            Self::RunCancelled(event) => Some(&event.run_id),
            Self::RunInterrupted(event) => Some(&event.run_id),
            Self::MlRunStarted(event) => Some(&event.run_id),
            Self::MlRunFinalized(event) => Some(&event.run_id),
            Self::TrialReported(event) => Some(&event.run_id),
            Self::MetricReported(event) => Some(&event.run_id),
            Self::RunException(event) => Some(&event.run_id),
        }
    }

    /// Attempt of the run that speaks, where the record carries one.
    pub fn attempt(&self) -> Option<u32> {
        match self {
            Self::RunRequested(_)
            | Self::RunCancelRequested(_)
            | Self::MlRunStarted(_)
            | Self::MlRunFinalized(_) => None,
            Self::RunStarted(event) => Some(event.attempt),
            Self::RunCompleted(event) => Some(event.attempt),
            Self::RunFailed(event) => Some(event.attempt),
            Self::RunCancelled(event) => Some(event.attempt),
            Self::RunInterrupted(event) => Some(event.attempt),
            Self::TrialReported(event) => event.attempt,
            Self::MetricReported(event) => event.attempt,
            Self::RunException(event) => Some(event.attempt),
        }
    }

    /// True for the events that end a run.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::RunCompleted(_) | Self::RunFailed(_) | Self::RunCancelled(_))
    }

    /// Deterministic message id: `<run>:<attempt or 0>:<kind>:<trial>:<step>`.
    ///
    /// What is the same in every attempt (a trial, a metric, the start of the record) carries `epoch`, so that the
    /// broker drops the twin a second attempt would publish. The epoch is 0 until somebody restarts a run that had
    /// failed, then the attempt of that restart. `run` stands in for a request without run id.
    pub fn message_id(&self, run: &RunId, attempt: u32, epoch: u32) -> String {
        let kind = self.record().kind();
        match self {
            Self::RunRequested(_) => format!("{run}:0:{kind}::"),
            Self::MlRunStarted(_) => format!("{run}:{epoch}:{kind}::"),
            Self::TrialReported(event) => format!("{run}:{epoch}:{kind}:{}:", event.trial_id),
            Self::MetricReported(event) => {
                format!("{run}:{epoch}:{kind}:{}:{}.{}", event.trial_id, event.name, event.step)
            }
            Self::RunException(event) => {
                let trial = event.trial_id.as_ref().map_or("", |trial| trial.as_str());
                let failure = &event.failure.fingerprint;
                // The pause tells the tries of one call apart; it differs from try to try.
                match event.next_attempt_in_ms.filter(|_| event.will_retry) {
                    Some(pause) => format!("{run}:{attempt}:{kind}:{trial}:{failure}.{pause}"),
                    None => format!("{run}:{attempt}:{kind}:{trial}:{failure}"),
                }
            }
            Self::RunCancelRequested(_)
            | Self::RunStarted(_)
            | Self::RunCompleted(_)
            | Self::RunFailed(_)
            | Self::RunCancelled(_)
            | Self::RunInterrupted(_)
            | Self::MlRunFinalized(_) => format!("{run}:{attempt}:{kind}::"),
        }
    }
}

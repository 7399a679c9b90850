//! The closed set of failure classes, and what follows from a class alone.

use serde::{Deserialize, Serialize};

use super::Origin;

/// The closed set of failure classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the names are those of the contract, and `origin` says who can put each right"
)]
pub enum FailureClass {
    Decode,
    SchemaUnknown,
    SchemaMismatch,
    Validation,
    UnsupportedSubject,
    Dependency,
    TimeoutTrial,
    TimeoutRun,
    HeartbeatLost,
    WorkerLost,
    Oom,
    SubprocessExit,
    ParseError,
    UserCode,
    NanObjective,
    EntrypointRefused,
    Cancelled,
    Expired,
    StaleAttempt,
    SinkRefused,
    ReplayLoop,
    Unknown,
}

impl FailureClass {
    /// Every class, in the order of the schema.
    pub const ALL: [Self; 22] = [
        Self::Decode,
        Self::SchemaUnknown,
        Self::SchemaMismatch,
        Self::Validation,
        Self::UnsupportedSubject,
        Self::Dependency,
        Self::TimeoutTrial,
        Self::TimeoutRun,
        Self::HeartbeatLost,
        Self::WorkerLost,
        Self::Oom,
        Self::SubprocessExit,
        Self::ParseError,
        Self::UserCode,
        Self::NanObjective,
        Self::EntrypointRefused,
        Self::Cancelled,
        Self::Expired,
        Self::StaleAttempt,
        Self::SinkRefused,
        Self::ReplayLoop,
        Self::Unknown,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::SchemaUnknown => "schema_unknown",
            Self::SchemaMismatch => "schema_mismatch",
            Self::Validation => "validation",
            Self::UnsupportedSubject => "unsupported_subject",
            Self::Dependency => "dependency",
            Self::TimeoutTrial => "timeout_trial",
            Self::TimeoutRun => "timeout_run",
            Self::HeartbeatLost => "heartbeat_lost",
            Self::WorkerLost => "worker_lost",
            Self::Oom => "oom",
            Self::SubprocessExit => "subprocess_exit",
            Self::ParseError => "parse_error",
            Self::UserCode => "user_code",
            Self::NanObjective => "nan_objective",
            Self::EntrypointRefused => "entrypoint_refused",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::StaleAttempt => "stale_attempt",
            Self::SinkRefused => "sink_refused",
            Self::ReplayLoop => "replay_loop",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// Who can usually put a failure of this class right.
    pub fn origin(self) -> Origin {
        match self {
            Self::Decode
            | Self::SchemaUnknown
            | Self::SchemaMismatch
            | Self::Validation
            | Self::UnsupportedSubject
            | Self::ParseError
            | Self::UserCode
            | Self::NanObjective
            | Self::EntrypointRefused
            | Self::Cancelled => Origin::User,
            Self::TimeoutTrial
            | Self::TimeoutRun
            | Self::Oom
            | Self::SubprocessExit
            | Self::HeartbeatLost => Origin::User,
            Self::Dependency | Self::SinkRefused => Origin::External,
            Self::WorkerLost => Origin::Infrastructure,
            Self::Expired | Self::StaleAttempt | Self::ReplayLoop | Self::Unknown => Origin::System,
        }
    }

    /// True when the same work may succeed if it is done again, unchanged.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Dependency | Self::WorkerLost | Self::HeartbeatLost)
    }
}

impl std::fmt::Display for FailureClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_reads_its_own_name_and_stands_in_the_schema_s_order() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::parse(class.as_str()), Some(class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
    }
}

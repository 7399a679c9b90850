//! Failures, normalised: one closed set of classes, where it showed, who can put it right.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes kept of each standard stream in a failure.
pub const EXCERPT_BYTES: usize = 4096;
/// Bytes kept of a traceback.
pub const TRACEBACK_BYTES: usize = 8192;
/// Bytes kept of a message.
pub const MESSAGE_BYTES: usize = 2048;

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

/// Where in the way of a message a fault showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stage {
    Decode,
    Validate,
    Execute,
    Publish,
    Sink,
}

impl Stage {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Validate => "validate",
            Self::Execute => "execute",
            Self::Publish => "publish",
            Self::Sink => "sink",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who can put a failure right: whoever wrote the request or the trainer (`User`), we (`System`), a service we depend on
/// (`External`), or whoever runs the machine, the network, the cluster (`Infrastructure`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "documented at the type")]
pub enum Origin {
    User,
    #[default]
    System,
    External,
    Infrastructure,
}

/// Why something ended unsuccessfully.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(apache_avro::AvroSchema), avro(namespace = "cerebros.events"))]
pub struct Failure {
    /// Which kind of fault it was.
    pub class: FailureClass,
    /// Where it showed.
    pub stage: Stage,
    /// One sentence for a person: what happened.
    pub message: String,
    /// Who can put it right.
    #[serde(default)]
    pub origin: Origin,
    /// True when the same work may succeed if it is done again.
    pub retryable: bool,
    /// Exit status of the process, when one ended by itself.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Number of the signal that ended the process, when one did.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Traceback of the user's code, the last [`TRACEBACK_BYTES`].
    #[serde(default)]
    pub traceback: Option<String>,
    /// Last [`EXCERPT_BYTES`] of standard output.
    #[serde(default)]
    pub stdout_excerpt: Option<String>,
    /// Last [`EXCERPT_BYTES`] of standard error.
    #[serde(default)]
    pub stderr_excerpt: Option<String>,
    /// Short hash that is equal for equal faults.
    #[serde(default)]
    pub fingerprint: String,
}

impl Failure {
    /// A failure of a class at a stage; origin, retryability and fingerprint follow from them.
    pub fn new(class: FailureClass, stage: Stage, message: impl Into<String>) -> Self {
        let message = bounded_head(&message.into(), MESSAGE_BYTES);
        let fingerprint = fingerprint(class, stage, &message);
        Self {
            class,
            stage,
            origin: class.origin(),
            retryable: class.is_retryable(),
            message,
            exit_code: None,
            signal: None,
            traceback: None,
            stdout_excerpt: None,
            stderr_excerpt: None,
            fingerprint,
        }
    }

    /// Adds the traceback of the user's code, keeping its end.
    #[must_use]
    pub fn with_traceback(mut self, traceback: Option<&str>) -> Self {
        self.traceback = traceback.map(|text| bounded_tail(text, TRACEBACK_BYTES));
        self
    }

    /// Adds what the process printed, keeping the end of each.
    #[must_use]
    pub fn with_output(mut self, stdout: &str, stderr: &str) -> Self {
        let excerpt = |text: &str| (!text.is_empty()).then(|| bounded_tail(text, EXCERPT_BYTES));
        self.stdout_excerpt = excerpt(stdout);
        self.stderr_excerpt = excerpt(stderr);
        self
    }
}

/// Hash that groups equal faults: class, stage and the message with numbers, quoted parts and hex ids taken out,
/// so that 500 failures of 3 causes make 3 groups.
pub fn fingerprint(class: FailureClass, stage: Stage, message: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(class.as_str());
    hash.update([0]);
    hash.update(stage.as_str());
    hash.update([0]);
    hash.update(shape_of(message));
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The message without what differs between two instances of one fault: words that contain a digit and text in
/// double quotes each become one mark.
fn shape_of(message: &str) -> String {
    let mut shape = String::with_capacity(message.len());
    let mut is_quoted = false;
    for part in message.split_inclusive('"') {
        if is_quoted {
            shape.push('?');
        } else {
            for word in part.split_inclusive(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_' | '.'))
            {
                if word.chars().any(|c| c.is_ascii_digit()) { shape.push('#') } else { shape.push_str(word) }
            }
        }
        is_quoted = part.ends_with('"') && !is_quoted;
    }
    shape
}

/// The first `limit` bytes of a text, cut at a character.
pub fn bounded_head(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// The last `limit` bytes of a text, cut at a character.
pub fn bounded_tail(text: &str, limit: usize) -> String {
    let start = text.len().saturating_sub(limit);
    let start = (start..=text.len()).find(|index| text.is_char_boundary(*index)).unwrap_or(text.len());
    text[start..].to_owned()
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

    #[test]
    fn equal_faults_share_a_fingerprint_and_different_ones_do_not() {
        let at = |message: &str| fingerprint(FailureClass::Validation, Stage::Decode, message);
        assert_eq!(at("budget.max_trials: found -1"), at("budget.max_trials: found -77"));
        assert_eq!(at("unknown data set \"a\""), at("unknown data set \"b c\""));
        assert_ne!(at("budget.max_trials: wrong"), at("budget.max_seconds: wrong"));
        assert_ne!(at("x"), fingerprint(FailureClass::Decode, Stage::Decode, "x"));
    }

    #[test]
    fn excerpts_are_cut_at_characters() {
        assert_eq!(bounded_tail("aé", 1), "");
        assert_eq!(bounded_tail("aé", 2), "é");
        assert_eq!(bounded_head("éa", 1), "…");
        assert_eq!(bounded_head("ab", 2), "ab");
    }
}

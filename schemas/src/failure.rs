//! Failures, normalised: one closed set of classes, where it showed, who can put it right.

mod bounded;
mod class;
mod fingerprint;

use serde::{Deserialize, Serialize};

pub use bounded::{bounded_head, bounded_tail};
pub use class::FailureClass;
pub use fingerprint::fingerprint;

/// Bytes kept of each standard stream in a failure.
pub const EXCERPT_BYTES: usize = 4096;
/// Bytes kept of a traceback.
pub const TRACEBACK_BYTES: usize = 8192;
/// Bytes kept of a message.
pub const MESSAGE_BYTES: usize = 2048;

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

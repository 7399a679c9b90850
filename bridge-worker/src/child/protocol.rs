//! What the worker and a child say to each other: JSON objects in length-prefixed frames.
//!
//! The other side is `python/src/cerebros_worker`. Whatever arrives is checked: a frame over the limit, a message
//! that does not parse or an answer to another call ends the child, not the worker.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use schemas::event::TrialStatus;
use schemas::{FailureClass, Json, Real};
use serde::{Deserialize, Serialize};

use crate::datasets::Located;
use crate::limits::Limits;

/// Version of the protocol; both sides say theirs.
pub const PROTOCOL: u32 = 1;
/// Largest frame in either direction; the child has the same limit.
pub const MAX_FRAME_BYTES: usize = 8 << 20;
/// Open files of a child when nobody says otherwise: more than data sets in many parts need, and so few that a trainer
/// that forgets to close them hears of it.
const DEFAULT_OPEN_FILES: u64 = 4096;

/// What a child is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToChild<'a> {
    /// Import this, then say ready.
    Init {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Trainers to import now.
        preload: &'a [String],
        /// Directory data set paths are allowed under.
        dataset_dir: Option<&'a Path>,
        /// How often to show life.
        heartbeat_ms: u64,
        /// Directories to look for modules in.
        extra_paths: &'a [std::path::PathBuf],
        /// What it is to deny itself before it imports anything.
        limits: ChildLimits,
    },
    /// Do this.
    Call(&'a Call),
    /// End the call at its next report.
    Stop {
        /// The call.
        id: u64,
        /// `cancelled` or `pruned`.
        reason: &'static str,
    },
}

/// The limits a child can set on itself.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ChildLimits {
    /// Memory in bytes.
    memory_bytes: Option<u64>,
    /// Open files.
    open_files: u64,
}

impl ChildLimits {
    /// Those a child has in hand; CPU time is watched from outside, because a trial's is not a process's.
    pub fn of(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory.map(|size| size.0),
            open_files: limits.open_files.unwrap_or(DEFAULT_OPEN_FILES),
        }
    }
}

/// One call.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Unique on this child.
    pub id: u64,
    /// `train`, `run_nas` or `echo`; a script of somebody else's may know others.
    pub op: Cow<'static, str>,
    /// Trainer by name, or `module:function`.
    pub entry: String,
    /// The candidate.
    pub params: serde_json::Value,
    /// What the trainer may know.
    pub trial: TrialContext,
    /// What a function that brings its own search is called with.
    #[serde(flatten)]
    pub search: Option<SearchArguments>,
}

/// The arguments of `run_nas(spec, opts)`.
#[derive(Debug, Clone, Serialize)]
pub struct SearchArguments {
    /// The request.
    pub spec: serde_json::Value,
    /// What the run is, and what it may use.
    pub opts: serde_json::Value,
}

/// What a trainer may know about its trial.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "the names are those of the trial's event")]
pub struct TrialContext {
    pub run_id: String,
    pub correlation_id: String,
    pub trial_id: String,
    pub number: u64,
    pub attempt: u32,
    pub seed: u32,
    pub objective: String,
    pub direction: &'static str,
    pub dataset_id: String,
    /// The file behind `dataset_id`, unless that is bundled.
    pub dataset: Option<DatasetFile>,
    /// A directory of the trial's own, removed afterwards.
    pub workdir: std::path::PathBuf,
    pub budget: serde_json::Value,
}

/// A data set that is a file, and what is in it.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names are those of what was located")]
pub struct DatasetFile {
    pub name: String,
    pub path: std::path::PathBuf,
    pub sha256: String,
}

impl From<&Located> for DatasetFile {
    fn from(located: &Located) -> Self {
        Self { name: located.name.clone(), path: located.path.clone(), sha256: located.sha256.clone() }
    }
}

/// What a child says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FromChild {
    Hello {
        protocol: u32,
        python: String,
    },
    Ready {
        import_ms: u64,
        python: String,
    },
    Fatal {
        failure: ChildFailure,
    },
    Heartbeat,
    Report {
        id: u64,
        metrics: BTreeMap<String, Real>,
        step: i64,
        /// Of an opaque run: the trial it belongs to, the next one when absent.
        #[serde(default)]
        number: Option<u32>,
    },
    Artifact {
        id: u64,
        name: String,
        path: std::path::PathBuf,
        bytes: u64,
        sha256: String,
        media_type: String,
    },
    Result(Box<CallResult>),
    /// A trial of an opaque run, with the fields of its event.
    Trial {
        id: u64,
        trial: serde_json::Map<String, serde_json::Value>,
        /// Its size, if it came in a frame of its own.
        #[serde(skip)]
        bytes: Option<usize>,
    },
}

impl FromChild {
    /// Reads one frame.
    ///
    /// # Errors
    /// It is no message.
    pub fn read(frame: &[u8]) -> serde_json::Result<Self> {
        /// Which message it is. What comes by the thousand is then read as what it is, and not into a tree of any shape
        /// first, which is what reading by a tag does and costs as much again.
        #[derive(Deserialize)]
        struct Tag<'a> {
            #[serde(rename = "type", borrow)]
            kind: Option<std::borrow::Cow<'a, str>>,
        }
        #[derive(Deserialize)]
        struct Told {
            id: u64,
            trial: serde_json::Map<String, serde_json::Value>,
        }
        let tag: Tag<'_> = serde_json::from_slice(frame)?;
        match tag.kind.as_deref() {
            Some("trial") => serde_json::from_slice(frame).map(|Told { id, trial }| Self::Trial {
                id,
                trial,
                bytes: Some(frame.len()),
            }),
            Some("result") => serde_json::from_slice(frame).map(|result| Self::Result(Box::new(result))),
            _ => serde_json::from_slice(frame),
        }
    }
}

/// What a call came to.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the trial's event")]
pub struct CallResult {
    pub id: u64,
    pub status: TrialStatus,
    #[serde(default)]
    pub metrics: BTreeMap<String, Real>,
    #[serde(default)]
    pub spectral_norm: bool,
    #[serde(default)]
    pub spectral_norm_value: Option<Real>,
    #[serde(default)]
    pub warnings: Vec<String>,
    #[serde(default)]
    pub parameters: Option<Json>,
    /// What an opaque run returned.
    #[serde(default)]
    pub value: Option<Json>,
    #[serde(default)]
    pub failure: Option<ChildFailure>,
    #[serde(default)]
    pub duration_ms: Option<i64>,
    #[serde(default)]
    pub max_rss_bytes: Option<u64>,
    /// Why the process is not fit for another call, if it is not.
    #[serde(default)]
    pub worn_out: Option<String>,
    /// The file the called function was imported from, unless it is one of the runtime's own.
    #[serde(default)]
    pub source: Option<std::path::PathBuf>,
    /// Data sets it asked for beside its own.
    #[serde(default)]
    pub other_datasets: Vec<String>,
}

impl CallResult {
    /// A result with nothing in it but how the call ended.
    pub fn new(id: u64, status: TrialStatus) -> Self {
        Self {
            id,
            status,
            metrics: BTreeMap::new(),
            spectral_norm: false,
            spectral_norm_value: None,
            warnings: Vec::new(),
            parameters: None,
            value: None,
            failure: None,
            duration_ms: None,
            max_rss_bytes: None,
            worn_out: None,
            source: None,
            other_datasets: Vec::new(),
        }
    }
}

/// A failure as a child words it.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the names are those of a failure")]
pub struct ChildFailure {
    pub class: String,
    pub message: String,
    #[serde(default)]
    pub traceback: Option<String>,
    #[serde(default)]
    pub retryable: bool,
}

impl ChildFailure {
    /// The class, as far as a child may name one: it speaks for user code, not for the worker.
    pub fn class(&self) -> FailureClass {
        match FailureClass::parse(&self.class) {
            Some(
                class @ (FailureClass::UserCode
                | FailureClass::NanObjective
                | FailureClass::Validation
                | FailureClass::Dependency
                | FailureClass::Oom
                | FailureClass::ParseError),
            ) => class,
            _ => FailureClass::UserCode,
        }
    }
}

//! The records of the ledger.

use std::collections::BTreeMap;

use schemas::Event;
use schemas::event::Direction;
use schemas::lifecycle::RunState;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::client::FoundRun;
use crate::projection::curve::Curve;
use crate::projection::left::UNREPORTED_TAG;
use crate::projection::nonfinite::NonFinite;
use crate::projection::originals::Told;
use crate::projection::steps::Steps;
use crate::projection::trial::Before;
use crate::projection::writes::NONFINITE_PREFIX;
use crate::projection::{parent, trial};

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    /// MLflow's id of the parent run.
    pub mlflow_id: String,
    /// Its experiment.
    pub experiment_id: String,
    /// Metric the search optimises, once its start was seen.
    pub objective: Option<String>,
    /// The way it is better.
    pub direction: Option<Direction>,
    /// Name of the experiment its start asks for.
    #[serde(default)]
    pub experiment: Option<String>,
    /// The curve of the best so far.
    #[serde(default, rename = "course")]
    pub curve: Curve,
    /// False when trials may have finished that the curve does not know; it is drawn again from the server's runs.
    #[serde(default, rename = "is_course_whole")]
    pub is_curve_whole: bool,
    /// Values it has.
    pub steps: Steps,
    /// What is in its file of originals.
    #[serde(default)]
    pub originals: Told,
    /// What was written of each kind of event, as a hash.
    pub marks: BTreeMap<String, String>,
    /// Attempt that announced the end of the run.
    pub ended_attempt: Option<u32>,
    /// Attempt whose end was taken back, because the run was asked for again after it: what that one or an older one
    /// says of an end is history.
    #[serde(default)]
    pub taken_back: Option<u32>,
    /// When the run was opened last, in milliseconds since 1970: by its latest start, else by an end without any.
    #[serde(default)]
    pub opened_at: Option<i64>,
    /// Attempt whose start opened it last, when that is known.
    #[serde(default)]
    pub opened_in: Option<u32>,
    /// True when it was announced before it was made, so that no trial of it is unknown to the broker.
    #[serde(default)]
    pub is_from_birth: bool,
    /// MLflow refused what its start says, and has not taken it since.
    #[serde(default)]
    pub is_refused: bool,
    /// What the run registry was told of it.
    #[serde(default)]
    pub linked: Option<Link>,
    /// A write was begun and not finished.
    pub is_open: bool,
}

/// The way from the run registry to a run in MLflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// MLflow's id.
    pub mlflow_id: String,
    /// Its page for people, where that is known.
    pub url: Option<String>,
}

impl Parent {
    /// Of a parent run that was just created.
    pub fn created(mlflow_id: String, experiment_id: String) -> Self {
        Self {
            mlflow_id,
            experiment_id,
            objective: None,
            direction: None,
            experiment: None,
            curve: Curve::default(),
            is_curve_whole: true,
            steps: Steps::of_a_new_run(),
            originals: Told::default(),
            marks: BTreeMap::new(),
            ended_attempt: None,
            taken_back: None,
            opened_at: None,
            opened_in: None,
            is_from_birth: false,
            is_refused: false,
            linked: None,
            is_open: false,
        }
    }

    /// Of a parent run the server already has.
    pub fn found(run: &FoundRun) -> Self {
        let tag = |name: &str| run.tags.get(name).map(String::as_str);
        let attempt = tag(parent::ATTEMPT_TAG).and_then(|attempt| attempt.parse().ok());
        Self {
            objective: tag(parent::OBJECTIVE_TAG).map(str::to_owned),
            direction: parent::direction(tag(parent::DIRECTION_TAG)),
            experiment: tag(parent::EXPERIMENT_TAG).map(str::to_owned),
            is_curve_whole: false,
            steps: Steps::default(),
            ended_attempt: attempt.filter(|_| tag(parent::STATE_TAG).is_some()),
            taken_back: attempt.filter(|_| tag(parent::STATE_TAG) == Some(RunState::Running.as_str())),
            opened_at: tag(parent::OPENED_TAG).and_then(|time| time.parse().ok()).or(run.end_time),
            is_refused: tag(parent::REFUSED_TAG).is_some(),
            ..Self::created(run.run_id.clone(), run.experiment_id.clone())
        }
    }

    /// True when exactly this event was written.
    pub fn has(&self, event: &Event) -> bool {
        self.marks.get(event.record().kind()).is_some_and(|mark| *mark == fingerprint(event))
    }

    /// Records an event as written.
    pub fn mark(&mut self, event: &Event) {
        self.marks.insert(event.record().kind().to_owned(), fingerprint(event));
    }
}

/// A trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Child {
    /// MLflow's id of the nested run.
    pub mlflow_id: String,
    /// Values it has.
    pub steps: Steps,
    /// Its values that are no numbers, by legal name.
    #[serde(default)]
    pub strange: BTreeMap<String, NonFinite>,
    /// What is in its file of originals.
    #[serde(default)]
    pub originals: Told,
    /// The report that was written.
    pub report: Option<ReportMark>,
    /// Attempt that trains it again, once one does.
    #[serde(default)]
    pub again_in: Option<u32>,
    /// Tags of its earlier end have to be removed with the next report.
    #[serde(default)]
    pub has_old_tags: bool,
    /// When the trial ended, in milliseconds since 1970: the time of its final values.
    pub ended_at: Option<i64>,
    /// A write was begun and not finished.
    pub is_open: bool,
    /// Tags it was created with just now: its first write need not tell them again.
    #[serde(skip)]
    pub born_with: BTreeMap<String, String>,
}

/// A report that was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportMark {
    /// Hash of the event; empty when only the server knows it.
    pub fingerprint: String,
    /// Attempt that trained the trial.
    pub attempt: Option<u32>,
}

impl ReportMark {
    /// Of a report.
    pub fn of(event: &Event) -> Self {
        Self { fingerprint: fingerprint(event), attempt: event.attempt() }
    }
}

impl Child {
    /// Of a nested run that was just created.
    pub fn created(mlflow_id: String) -> Self {
        Self {
            mlflow_id,
            steps: Steps::of_a_new_run(),
            strange: BTreeMap::new(),
            originals: Told::default(),
            report: None,
            again_in: None,
            has_old_tags: false,
            ended_at: None,
            is_open: false,
            born_with: BTreeMap::new(),
        }
    }

    /// Of a nested run the server already has. One that names an attempt and no status is trained again by that
    /// attempt: only whoever begins it again takes the status away.
    pub fn found(run: &FoundRun) -> Self {
        let attempt = run.tags.get(trial::ATTEMPT_TAG).and_then(|attempt| attempt.parse().ok());
        let is_over = run.tags.contains_key(trial::STATUS_TAG);
        let again_in = attempt.filter(|_| !is_over);
        let ended_in = if is_over { attempt } else { Before::told(&run.tags).map(|before| before.attempt) };
        let has_ended = is_over || ended_in.is_some();
        let mut steps = Steps::default();
        if again_in.is_some() {
            steps.begin_again();
        }
        let old_tags = [UNREPORTED_TAG, trial::BEFORE_TAG, parent::REFUSED_TAG];
        Self {
            mlflow_id: run.run_id.clone(),
            steps,
            strange: strange_in(&run.tags),
            originals: Told::default(),
            report: has_ended.then(|| ReportMark { fingerprint: String::new(), attempt: ended_in }),
            again_in,
            has_old_tags: old_tags.iter().any(|tag| run.tags.contains_key(*tag)),
            ended_at: run.end_time,
            is_open: false,
            born_with: BTreeMap::new(),
        }
    }
}

/// What the tags of a trial tell of values that are no numbers.
fn strange_in(tags: &BTreeMap<String, String>) -> BTreeMap<String, NonFinite> {
    let told = tags.iter().filter_map(|(name, text)| Some((name.strip_prefix(NONFINITE_PREFIX)?, text)));
    told.filter_map(|(key, text)| Some((key.to_owned(), NonFinite::read(text)?))).collect()
}

/// Short hash of what an event says.
pub fn fingerprint(event: &Event) -> String {
    let text = event.to_json().to_string();
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

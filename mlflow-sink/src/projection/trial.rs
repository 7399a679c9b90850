//! A trial as a nested run in MLflow.

use std::collections::BTreeMap;

use schemas::event::{Direction, MetricReported, TrialReported, TrialStatus};
use schemas::{Event, RunId, TrialId};

use super::flatten::flatten;
use super::left::UNREPORTED_TAG;
use super::names::legal;
use super::nonfinite::NonFinite;
use super::parent::{DIRECTION_TAG, EXPERIMENT_TAG, KIND_TAG, OBJECTIVE_TAG, REFUSED_TAG, RUN_TAG, failed};
use super::writes::NONFINITE_PREFIX;
use super::{Birth, Closing, Point, RunStatus, Seen, Writes, millis};

/// Value of [`KIND_TAG`] on a trial.
pub const KIND: &str = "trial";
/// Tag MLflow nests runs by.
pub const PARENT_TAG: &str = "mlflow.parentRunId";
/// Tag with the id of the trial.
pub const TRIAL_TAG: &str = "cerebros.trial_id";
/// Tag with the number of the trial in its run.
pub const NUMBER_TAG: &str = "cerebros.number";
/// Tag with how the trial ended.
pub const STATUS_TAG: &str = "cerebros.status";
/// Tag with the attempt of the run that trained it.
pub const ATTEMPT_TAG: &str = "cerebros.attempt";
/// Tag of a trial that is trained again, with how it had ended: gone when it is over again.
pub const BEFORE_TAG: &str = "cerebros.before";
/// Tag with why a trial was ended before its end.
pub const REASON_TAG: &str = "cerebros.reason";

/// What a trial is created with at most, beside what identifies it.
const MAX_BIRTH_TAGS: usize = 80;
const MAX_BIRTH_BYTES: usize = 64 * 1024;

/// Tags that say how a trial ended, and hold no longer once it is trained again. A dot at the end stands for all
/// behind it.
pub const ENDING_TAGS: [&str; 10] = [
    STATUS_TAG,
    BEFORE_TAG,
    REASON_TAG,
    REFUSED_TAG,
    UNREPORTED_TAG,
    "cerebros.warnings",
    "cerebros.artifact_uri",
    "cerebros.failure.",
    NONFINITE_PREFIX,
    "cerebros.cut.tag.cerebros.",
];

/// How the nested run of a trial is created, from the events of the trial that are in hand.
pub fn birth(run: &RunId, trial: &TrialId, parent: &str, events: &[&Seen]) -> Birth {
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let number = events.iter().find_map(|seen| match_report(seen)?.number).or_else(|| number_in(run, trial));
    Birth {
        name: name(trial, number),
        start_time: events.iter().map(|seen| began(seen)).min().unwrap_or(0),
        tags: BTreeMap::from([
            tag(PARENT_TAG, parent),
            tag(RUN_TAG, run.as_str()),
            tag(TRIAL_TAG, trial.as_str()),
            tag(KIND_TAG, KIND),
        ]),
    }
}

/// What the report among the events says as tags, for a nested run that is created with it: MLflow takes them with the
/// creation for a fifth of what they cost in a write of their own. `None` when it takes more than one word to tell them:
/// several reports, several attempts, or more than fits.
pub fn tags_at_birth(events: &[&Seen], kin: Writes) -> Option<BTreeMap<String, String>> {
    let mut reports = events.iter().filter_map(|seen| Some((seen, match_report(seen)?)));
    let (seen, report) = reports.next()?;
    let is_one_attempt = events.iter().all(|other| other.event.attempt() == seen.event.attempt());
    if reports.next().is_some() || !is_one_attempt {
        return None;
    }
    let mut writes = reported(report, seen).writes.traced(seen.sequence);
    writes.extend(kin);
    let bytes: usize = writes.tags.iter().map(|(name, value)| name.len() + value.len()).sum();
    (writes.tags.len() <= MAX_BIRTH_TAGS && bytes <= MAX_BIRTH_BYTES).then_some(writes.tags)
}

fn match_report(seen: &Seen) -> Option<&TrialReported> {
    if let Event::TrialReported(report) = &seen.event { Some(report) } else { None }
}

/// When the trial of an event began, in milliseconds, as far as the event knows.
fn began(seen: &Seen) -> i64 {
    if let Event::MetricReported(metric) = &seen.event {
        return millis(metric.recorded_at);
    }
    let report = match_report(seen);
    let started = report.and_then(|report| report.started_at).map(millis);
    let duration = report.and_then(|report| report.duration_ms).unwrap_or(0);
    started.unwrap_or_else(|| (ended(seen, report) - duration).max(0))
}

fn ended(seen: &Seen, report: Option<&TrialReported>) -> i64 {
    millis(report.and_then(|report| report.finished_at).unwrap_or(seen.at))
}

/// The number in an id of ours (`<run>-t00042`), for a metric, which carries none.
fn number_in(run: &RunId, trial: &TrialId) -> Option<u32> {
    trial.as_str().strip_prefix(run.as_str())?.strip_prefix("-t")?.parse().ok()
}

fn name(trial: &TrialId, number: Option<u32>) -> String {
    number.map_or_else(|| trial.to_string(), |number| format!("trial-{number:05}"))
}

/// Everything the end of a trial says.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Parameters and tags.
    pub writes: Writes,
    /// Final metrics by legal name; they follow the last intermediate value of the same name.
    pub finals: BTreeMap<String, f64>,
    /// Final metrics that are no numbers.
    pub strange: Vec<Strange>,
    /// Status, time, name.
    pub closing: Closing,
}

/// What the report of a trial becomes. `at` is the time of its envelope.
pub fn reported(report: &TrialReported, seen: &Seen) -> Report {
    let mut writes = Writes::default();
    flatten("", &report.parameters.0, &mut |name, text| writes.param(name, text));
    identity(&mut writes, report);
    writes.tag_some(REASON_TAG, reason(report));
    writes.tag("cerebros.spectral_norm", report.spectral_norm.to_string());
    if let Some(failure) = &report.failure {
        failed(&mut writes, failure);
    }
    if !report.warnings.is_empty() {
        writes.tag("cerebros.warnings", report.warnings.join("\n"));
    }
    let mut metrics = report.metrics.clone();
    if let Some(value) = report.spectral_norm_value {
        metrics.entry("spectral_norm_value".to_owned()).or_insert(value);
    }
    let (finals, strange) = finals(&mut writes, &metrics);
    let closing = Closing {
        status: status_of(report.status),
        end_time: ended(seen, Some(report)),
        name: report.number.map(|number| name(&report.trial_id, Some(number))),
    };
    Report { writes, finals, strange, closing }
}

fn identity(writes: &mut Writes, report: &TrialReported) {
    writes.tag(STATUS_TAG, report.status.as_str());
    writes.tag_some(NUMBER_TAG, report.number);
    writes.tag_some(ATTEMPT_TAG, report.attempt);
    writes.tag_some("cerebros.worker_id", report.worker_id.as_ref());
    writes.tag_some("cerebros.candidate_id", report.candidate_id.as_ref());
    writes.tag_some("cerebros.pulse_id", report.pulse_id.as_ref());
    writes.tag_some("cerebros.rank", report.rank);
    writes.tag_some("cerebros.seed", report.seed);
    writes.tag_some("cerebros.duration_ms", report.duration_ms);
    writes.tag_some("cerebros.artifact_uri", report.artifact_uri.as_ref());
    if !report.parent_ids.is_empty() {
        writes.tag("cerebros.parent_ids", report.parent_ids.join(","));
    }
}

/// What a trial has of its run, so that trials of different runs can be searched and compared without these.
pub fn kin(objective: Option<&str>, direction: Option<Direction>, experiment: Option<&str>) -> Writes {
    let mut writes = Writes::default();
    writes.tag_some(OBJECTIVE_TAG, objective);
    writes.tag_some(DIRECTION_TAG, direction.map(Direction::as_str));
    writes.tag_some(EXPERIMENT_TAG, experiment);
    writes
}

/// Why a trial was ended before its end: MLflow knows one word, KILLED, for all of these.
fn reason(report: &TrialReported) -> Option<String> {
    let words = match report.status {
        TrialStatus::Succeeded | TrialStatus::Failed => return None,
        TrialStatus::Pruned => "stopped early: it did not promise to become better than others",
        TrialStatus::Cancelled => "cancelled before it had ended",
        TrialStatus::Skipped => "skipped: it was not trained",
    };
    let said = report.failure.as_ref().map(|failure| &failure.message).or(report.warnings.first());
    Some(said.map_or_else(|| words.to_owned(), |said| format!("{}: {said}", report.status.as_str())))
}

/// The tags of a trial that an attempt trains again.
pub fn again(attempt: u32) -> Writes {
    let mut writes = Writes::default();
    writes.tag(ATTEMPT_TAG, attempt.to_string());
    writes
}

/// How a trial had ended that is trained again: what its end is not any more, and the curve still counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its status.
    pub status: String,
    /// The attempt that ended it.
    pub attempt: u32,
}

impl Before {
    /// As the tags of its end say it; `None` for a trial that has not ended.
    pub fn of(tags: &BTreeMap<String, String>) -> Option<Self> {
        let attempt = tags.get(ATTEMPT_TAG)?.parse().ok()?;
        Some(Self { status: tags.get(STATUS_TAG)?.clone(), attempt })
    }

    /// As its tag says it.
    pub fn told(tags: &BTreeMap<String, String>) -> Option<Self> {
        let (status, attempt) = tags.get(BEFORE_TAG)?.split_once(BETWEEN)?;
        Some(Self { status: status.to_owned(), attempt: attempt.parse().ok()? })
    }

    /// Its tag.
    pub fn tell(&self) -> Writes {
        let mut writes = Writes::default();
        writes.tag(BEFORE_TAG, format!("{}{BETWEEN}{}", self.status, self.attempt));
        writes
    }
}

/// Between the two parts of a [`Before`].
const BETWEEN: &str = " in attempt ";

fn status_of(status: TrialStatus) -> RunStatus {
    match status {
        TrialStatus::Succeeded => RunStatus::Finished,
        TrialStatus::Failed => RunStatus::Failed,
        TrialStatus::Skipped | TrialStatus::Cancelled | TrialStatus::Pruned => RunStatus::Killed,
    }
}

/// A value that is no number.
#[derive(Debug, Clone, PartialEq)]
pub struct Strange {
    /// Legal name of its metric.
    pub key: String,
    /// Name of its metric as it was.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its step; `None` for a final value.
    pub step: Option<i64>,
}

impl Strange {
    fn new(name: &str, value: schemas::Real, step: Option<i64>) -> Self {
        Self { key: legal(name).into_owned(), name: name.to_owned(), value: value.0, step }
    }

    /// Adds it to what is known of its metric, and the tag that tells all of it.
    pub fn note(&self, known: &mut BTreeMap<String, NonFinite>, writes: &mut Writes) {
        let values = known.entry(self.key.clone()).or_insert_with(|| NonFinite::of(&self.name, &self.key));
        match self.step {
            Some(step) => values.note(step, self.value),
            None => values.finish(self.value),
        }
        writes.nonfinite(&self.key, values);
        if self.key != self.name {
            writes.originals.name(&self.key, &self.name);
        }
    }
}

/// The finite ones by legal name, and the others.
pub fn finals(
    writes: &mut Writes,
    metrics: &BTreeMap<String, schemas::Real>,
) -> (BTreeMap<String, f64>, Vec<Strange>) {
    let (mut finals, mut strange) = (BTreeMap::new(), Vec::new());
    for (name, value) in metrics {
        match value.finite() {
            Some(value) => drop(finals.insert(writes.name(name), value)),
            None => strange.push(Strange::new(name, *value, None)),
        }
    }
    (finals, strange)
}

/// What an intermediate value becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A point, with the tag of its name where that was changed.
    Point(Writes, Point),
    /// No number: a part of a tag.
    Strange(Strange),
}

/// What an intermediate value becomes: a point, or a part of a tag when it is not finite.
pub fn metric(event: &MetricReported) -> Value {
    let Some(value) = event.value.finite() else {
        return Value::Strange(Strange::new(&event.name, event.value, Some(event.step)));
    };
    let mut writes = Writes::default();
    let key = writes.name(&event.name);
    let point = Point { key, value, timestamp: millis(event.recorded_at), step: event.step };
    Value::Point(writes, point)
}

#[cfg(test)]
mod tests;

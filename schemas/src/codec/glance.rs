//! A glance: whether a trial or an intermediate value written as JSON can be read, without building it.
//!
//! Invariant: what a glance takes, [`super::decode_with`] takes, and finds the same run and attempt in it and no unknown
//! field. The other way round nothing is promised: a glance knows the forms such events nearly always have (plain texts
//! for ids, no failure, no artefact references, few levels), and whatever has another has to be read.

mod parts;

use serde::Deserialize;

use super::{Encoding, envelope};
use crate::headers::{HeaderSource, header};
use crate::{Record, ids};
use parts::{Empty, Members, Metrics, Moment, Name, Nothing, Number, Status, Text, Texts};

/// Texts up to this size are never too much to read, see [`crate::json_text::weigh`].
const MAX_BYTES: usize = 16 * 1024;

/// What was seen of an event that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance<'a> {
    /// What it is: a trial or an intermediate value.
    pub record: Record,
    /// Its run.
    pub run_id: &'a str,
    /// The attempt it speaks for.
    pub attempt: Option<u32>,
}

/// Looks at what came on a subject. `None` says nothing but that it has to be read.
pub fn glance<'a>(subject: &str, headers: &impl HeaderSource, payload: &'a [u8]) -> Option<Glance<'a>> {
    let record = match Record::of_subject(subject)? {
        record @ (Record::TrialReported | Record::MetricReported) => record,
        Record::RunRequested
        | Record::RunCancelRequested
        | Record::RunStarted
        | Record::RunCompleted
        | Record::RunFailed
        | Record::RunCancelled
        | Record::RunInterrupted
        | Record::MlRunStarted
        | Record::MlRunFinalized
        | Record::RunException => return None,
    };
    // A list could stand for a record by position, which is none.
    if payload.first() != Some(&b'{') || payload.len() > MAX_BYTES || !is_plain_json(record, headers) {
        return None;
    }
    let text = std::str::from_utf8(payload).ok()?;
    let (run_id, attempt) = if record == Record::TrialReported { trial(text) } else { metric(text) }?;
    Some(Glance { record, run_id, attempt })
}

/// True when the headers are those of an event in JSON, whichever of several counts.
fn is_plain_json(record: Record, headers: &impl HeaderSource) -> bool {
    let json = Encoding::Json.content_type();
    headers.pairs().all(|(name, value)| {
        let is = |known: &str| name.len() == known.len() && name.eq_ignore_ascii_case(known);
        let is_type = is(header::CONTENT_TYPE) || is(header::DATA_CONTENT_TYPE);
        (!is_type || value == json) && envelope::judge(record, name, value).is_ok()
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that it is there and of its type is all that is asked")]
struct Trial<'a> {
    trial_id: &'a str,
    run_id: &'a str,
    status: Status,
    number: Option<u32>,
    attempt: Option<u32>,
    pulse_id: Option<Text>,
    candidate_id: Option<Text>,
    #[serde(default)]
    parent_ids: Texts,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    parameters: Members,
    artifact_uri: Option<Text>,
    #[serde(default)]
    artifact_refs: Empty,
    duration_ms: Option<i64>,
    rank: Option<i64>,
    #[serde(default)]
    warnings: Texts,
    #[serde(default)]
    failure: Nothing,
    #[serde(default)]
    spectral_norm: bool,
    spectral_norm_value: Option<Number>,
    seed: Option<i64>,
    started_at: Option<Moment>,
    finished_at: Option<Moment>,
    worker_id: Option<Text>,
    mlflow_run_id: Option<Text>,
}

fn trial(text: &str) -> Option<(&str, Option<u32>)> {
    let trial: Trial<'_> = serde_json::from_str(text).ok()?;
    let numbers = [trial.duration_ms, trial.rank, trial.seed];
    let is_valid = ids::check(trial.trial_id).is_ok()
        && ids::check(trial.run_id).is_ok()
        && trial.attempt != Some(0)
        && numbers.iter().all(|number| number.is_none_or(|number| number >= 0));
    is_valid.then_some((trial.run_id, trial.attempt))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that it is there and of its type is all that is asked")]
struct Metric<'a> {
    run_id: &'a str,
    trial_id: &'a str,
    name: Name,
    value: Number,
    step: i64,
    recorded_at: Moment,
    attempt: Option<u32>,
}

fn metric(text: &str) -> Option<(&str, Option<u32>)> {
    let metric: Metric<'_> = serde_json::from_str(text).ok()?;
    let is_valid = ids::check(metric.run_id).is_ok()
        && ids::check(metric.trial_id).is_ok()
        && metric.attempt != Some(0)
        && metric.step >= 0;
    is_valid.then_some((metric.run_id, metric.attempt))
}

#[cfg(test)]
mod tests;

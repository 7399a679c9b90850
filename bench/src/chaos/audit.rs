//! What is promised of a run, held against what the stream has of it. Pure.

use std::collections::BTreeMap;
use std::fmt::Display;

use schemas::event::{RunCompleted, TrialReported};
use schemas::lifecycle::Lifecycle;
use schemas::{Event, RunId};

use super::timeline::Said;

/// What a run that had to complete with so many trials broke, a sentence each; none for a good one.
///
/// Every trial and every intermediate value once, the record opened once, one terminal event and nothing after it, and
/// no word of an attempt after a later one had started.
pub(super) fn broken_by(run: &RunId, said: &[&Said], trials: u32) -> Vec<String> {
    let mut broken = order(said);
    broken.extend(endings(said));
    let told = counted(said.iter().filter_map(|said| trial(said)?.number));
    let missing: Vec<String> =
        (0..trials).filter(|number| !told.contains_key(number)).map(|number| number.to_string()).collect();
    if !missing.is_empty() {
        broken.push(format!("never reported: trial {}", missing.join(", ")));
    }
    for (number, times) in &told {
        if *number >= trials {
            broken.push(format!("trial {number} was not asked for"));
        }
        if *times > 1 {
            broken.push(format!("trial {number} was reported {times} times"));
        }
    }
    let metrics = counted(said.iter().filter_map(|said| {
        let Event::MetricReported(metric) = &said.event else { return None };
        Some(format!("`{}` of {} at step {}", metric.name, metric.trial_id, metric.step))
    }));
    let twice = metrics.iter().filter(|(_, times)| **times > 1);
    broken.extend(twice.map(|(value, times)| format!("the value {value} was stored {times} times")));
    match said.iter().filter(|said| matches!(said.event, Event::MlRunStarted(_))).count() {
        1 => {}
        times => broken.push(format!("the record was opened {times} times")),
    }
    broken.into_iter().map(|broken| format!("run {run}: {broken}")).collect()
}

/// Where two runs of the same request differ: parameters and seeds of the trials both have, and the best of them.
/// Which trials there have to be says [`broken_by`].
pub(super) fn differences(calm: &[&Said], disturbed: &[&Said]) -> Vec<String> {
    let mut found = Vec::new();
    let (left, right) = (trials(calm), trials(disturbed));
    for (number, left) in &left {
        let Some(right) = right.get(number) else { continue };
        let mut compare = |what: &str, left: String, right: String| {
            if left != right {
                found.push(format!("trial {number}: {what} {right} instead of {left}"));
            }
        };
        compare("parameters", left.parameters.0.to_string(), right.parameters.0.to_string());
        compare("seed", shown(left.seed), shown(right.seed));
        compare("status", left.status.as_str().to_owned(), right.status.as_str().to_owned());
    }
    let (left, right) = (best(calm), best(disturbed));
    if left != right {
        found.push(format!("the best is {} instead of {}", right.join(", "), left.join(", ")));
    }
    found
}

fn order(said: &[&Said]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut lifecycle = Lifecycle::default();
    for said in said {
        let (attempt, current, at) = (said.attempt, lifecycle.attempt(), said.sequence);
        let what = said.event.record().subject();
        if attempt > 0 && attempt < current {
            let trial = trial(said).and_then(|trial| trial.number).map(|number| format!(" (trial {number})"));
            let trial = trial.unwrap_or_default();
            broken.push(format!(
                "{what}{trial} of attempt {attempt} was stored at {at}, after attempt {current} had started"
            ));
        } else if let Err(error) = lifecycle.apply(&said.event) {
            broken.push(format!("{what} at {at}: {error}"));
        }
    }
    broken
}

fn endings(said: &[&Said]) -> Vec<String> {
    let ends: Vec<_> = said.iter().filter(|said| said.event.is_terminal()).collect();
    let mut broken = Vec::new();
    if ends.len() != 1 {
        broken.push(format!("{} terminal events instead of one", ends.len()));
    }
    for end in ends {
        let (subject, at) = (end.event.record().subject(), end.sequence);
        if let Event::RunFailed(failed) = &end.event {
            let failure = &failed.failure;
            broken.push(format!("{subject} at {at}: {}: {}", failure.class, failure.message));
        } else if !matches!(end.event, Event::RunCompleted(_)) {
            broken.push(format!("{subject} at {at}"));
        }
    }
    broken
}

fn trial(said: &Said) -> Option<&TrialReported> {
    if let Event::TrialReported(trial) = &said.event { Some(trial) } else { None }
}

fn trials<'a>(said: &[&'a Said]) -> BTreeMap<u32, &'a TrialReported> {
    said.iter().filter_map(|said| trial(said)).filter_map(|trial| Some((trial.number?, trial))).collect()
}

/// Number, value and parameters of the best trial; the run's own id is left out.
fn best(said: &[&Said]) -> Vec<String> {
    let of = |end: &RunCompleted| {
        let prefix = format!("{}-", end.run_id);
        let number = end.best_trial_id.as_deref().map(|id| id.strip_prefix(&prefix).unwrap_or(id));
        let value = end.best_metric.map(|value| value.0);
        vec![shown(number), shown(value), end.best_model.0.to_string()]
    };
    let completed = said
        .iter()
        .find_map(|said| if let Event::RunCompleted(end) = &said.event { Some(of(end)) } else { None });
    completed.unwrap_or_else(|| vec!["none".to_owned()])
}

fn counted<T: Ord>(all: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counted = BTreeMap::new();
    all.for_each(|one| *counted.entry(one).or_default() += 1);
    counted
}

fn shown(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests;

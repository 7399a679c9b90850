//! Trials the next call of the function is told of: what they came to, and with which parameters, within bounds.
//!
//! Pure. A function that searches goes on from where it was and from the best it has found, so that the newest trials are
//! told first, and the best one always. What does not fit beside them is left out and counted; of parameters, which may
//! be large, the function is told as many as fit into a part of their own.

use std::collections::BTreeMap;

use schemas::Real;
use schemas::event::{Direction, TrialReported, TrialStatus};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::resume::usable_objective_of;

/// What is told of results: a call, with a request of the largest kind, stays well below the limit of a message.
const MAX_OUTCOME_BYTES: usize = 3 << 20;
/// What is told of parameters.
const MAX_PARAMETER_BYTES: usize = 2 << 20;
/// What a trial takes besides its text.
const ENTRY_BYTES: usize = 64;

/// The trials that are known, as far as they can be told; at most twice as much as is told is kept.
#[derive(Debug)]
pub(super) struct Known {
    direction: Direction,
    objective: String,
    /// In the order in which they ended.
    entries: Vec<Entry>,
    bytes: usize,
    left_out: usize,
}

/// A trial as text, which is what is counted.
#[derive(Debug)]
struct Entry {
    outcome: String,
    parameters: Option<String>,
    objective: Option<f64>,
}

/// What a trial came to, as it is told.
#[derive(Serialize)]
struct Outcome<'a> {
    number: Option<u32>,
    status: TrialStatus,
    metrics: &'a BTreeMap<String, Real>,
}

/// What of an entry fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Whole,
    WithoutParameters,
    Not,
}

impl Known {
    /// No trial of a search for `objective`.
    pub(super) fn new(direction: Direction, objective: &str) -> Self {
        let objective = objective.to_owned();
        Self { direction, objective, entries: Vec::new(), bytes: 0, left_out: 0 }
    }

    /// A trial that is durable now.
    #[expect(clippy::needless_pass_by_value, reason = "whoever tells of a trial is done with it")]
    pub(super) fn push(&mut self, trial: TrialReported) {
        let outcome = Outcome { number: trial.number, status: trial.status, metrics: &trial.metrics };
        let entry = Entry {
            outcome: serde_json::to_string(&outcome).expect("an outcome is plain data"),
            parameters: Some(trial.parameters.0.to_string()),
            objective: usable_objective_of(&trial, &self.objective),
        };
        self.bytes += entry.bytes();
        self.entries.push(entry);
        if self.bytes > 2 * (MAX_OUTCOME_BYTES + MAX_PARAMETER_BYTES) {
            self.forget();
        }
    }

    /// What the next call is told, in the order in which the trials ended, and how many are left out.
    pub(super) fn told(&self) -> (Vec<Value>, usize) {
        let fits = self.fits();
        let told = self.entries.iter().zip(&fits).filter_map(|(entry, fit)| entry.told(*fit));
        (told.collect(), self.left_out + fits.iter().filter(|fit| **fit == Fit::Not).count())
    }

    /// Lets go of what will never be told.
    fn forget(&mut self) {
        let fits = self.fits();
        let before = self.entries.len();
        let mut fit = fits.iter();
        self.entries.retain_mut(|entry| {
            let fit = fit.next().copied().unwrap_or(Fit::Not);
            if fit == Fit::WithoutParameters {
                entry.parameters = None;
            }
            fit != Fit::Not
        });
        self.left_out += before - self.entries.len();
        self.bytes = self.entries.iter().map(Entry::bytes).sum();
    }

    /// What of each entry fits, in their order: the best first, then the newest.
    fn fits(&self) -> Vec<Fit> {
        let best = self.best();
        let newest = (0..self.entries.len()).rev().filter(|index| Some(*index) != best);
        let (mut for_outcomes, mut for_parameters) = (MAX_OUTCOME_BYTES, MAX_PARAMETER_BYTES);
        let mut fits = vec![Fit::Not; self.entries.len()];
        for index in best.into_iter().chain(newest) {
            let entry = &self.entries[index];
            let Some(left) = for_outcomes.checked_sub(entry.outcome.len() + ENTRY_BYTES) else { continue };
            for_outcomes = left;
            let parameters = entry.parameters.as_ref().map(String::len);
            fits[index] = match parameters.and_then(|bytes| for_parameters.checked_sub(bytes)) {
                Some(left) => {
                    for_parameters = left;
                    Fit::Whole
                }
                None => Fit::WithoutParameters,
            };
        }
        fits
    }

    /// The first of the best.
    fn best(&self) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        for (index, objective) in
            self.entries.iter().enumerate().filter_map(|(index, entry)| Some((index, entry.objective?)))
        {
            let is_better = best.is_none_or(|(_, best)| match self.direction {
                Direction::Maximize => objective > best,
                Direction::Minimize => objective < best,
            });
            if is_better {
                best = Some((index, objective));
            }
        }
        best.map(|(index, _)| index)
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        self.outcome.len() + self.parameters.as_ref().map_or(0, String::len) + ENTRY_BYTES
    }

    fn told(&self, fit: Fit) -> Option<Value> {
        if fit == Fit::Not {
            return None;
        }
        let read = |text: &str| serde_json::from_str(text).expect("it was written by us");
        let mut told: Map<String, Value> = serde_json::from_str(&self.outcome).expect("it was written by us");
        if let (Fit::Whole, Some(parameters)) = (fit, &self.parameters) {
            told.insert("parameters".to_owned(), read(parameters));
        }
        Some(Value::Object(told))
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Json, RunId, TrialId};
    use serde_json::json;

    use super::*;

    fn trial(number: u32, accuracy: f64, metrics: usize, parameters: usize) -> TrialReported {
        let run = RunId::parse("r").unwrap();
        let more = (0..metrics).map(|n| (format!("metric_{n:02}"), Real(f64::from(number) + 0.123_456_789)));
        TrialReported {
            number: Some(number),
            metrics: more.chain([("accuracy".to_owned(), Real(accuracy))]).collect::<BTreeMap<_, _>>(),
            parameters: Json(json!({"x": "x".repeat(parameters)})),
            ..TrialReported::new(run.clone(), TrialId::numbered(&run, number.into()), TrialStatus::Succeeded)
        }
    }

    fn known(trials: impl IntoIterator<Item = TrialReported>) -> Known {
        let mut known = Known::new(Direction::Maximize, "accuracy");
        trials.into_iter().for_each(|trial| known.push(trial));
        known
    }

    fn numbers(told: &[Value]) -> Vec<u64> {
        told.iter().map(|trial| trial["number"].as_u64().unwrap()).collect()
    }

    #[test]
    fn what_fits_is_told_whole_and_in_order() {
        let (told, left_out) = known([trial(2, 0.5, 0, 4), trial(0, f64::NAN, 0, 4)]).told();
        assert_eq!((numbers(&told), left_out), (vec![2, 0], 0));
        assert_eq!((&told[0]["metrics"]["accuracy"], &told[0]["status"]), (&json!(0.5), &json!("succeeded")));
        assert_eq!(
            (&told[1]["metrics"]["accuracy"], &told[1]["parameters"]["x"]),
            (&json!("NaN"), &json!("xxxx"))
        );
    }

    #[test]
    fn of_very_many_trials_the_newest_and_the_best_are_told_and_no_more_is_kept() {
        let known =
            known((0..10_000).map(|number| trial(number, if number == 17 { 0.9 } else { 0.5 }, 50, 20)));
        assert!(known.bytes <= 2 * (MAX_OUTCOME_BYTES + MAX_PARAMETER_BYTES), "{} bytes", known.bytes);
        let (told, left_out) = known.told();
        assert_eq!(told.len() + left_out, 10_000);
        let numbers = numbers(&told);
        assert_eq!((numbers[0], numbers[numbers.len() - 1]), (17, 9_999));
        assert!(numbers[1..].windows(2).all(|pair| pair[0] + 1 == pair[1]), "the newest, without a gap");
        let bytes = serde_json::to_vec(&told).unwrap().len();
        assert!((1 << 20..=MAX_OUTCOME_BYTES + MAX_PARAMETER_BYTES).contains(&bytes), "{bytes} bytes");
        assert!(told.iter().all(|trial| trial.get("parameters").is_some()));
    }

    #[test]
    fn parameters_that_do_not_fit_are_left_out_before_those_of_newer_trials_and_of_the_best() {
        let half = MAX_PARAMETER_BYTES / 2 - 100;
        let known = known([trial(0, 0.9, 0, half), trial(1, 0.5, 0, half), trial(2, 0.5, 0, half)]);
        let (told, left_out) = known.told();
        let has_parameters: Vec<bool> = told.iter().map(|trial| trial.get("parameters").is_some()).collect();
        assert_eq!((has_parameters, left_out), (vec![true, false, true], 0));
    }
}

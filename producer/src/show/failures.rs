//! Failed trials, those that died of the same together.
//!
//! Two are the same if they share a fingerprint, or class and message.

use std::collections::HashMap;

use schemas::event::TrialStatus;
use schemas::{Failure, FailureClass};

use super::details::Trial;

/// Failed trials that died of the same.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// In the order they were given, at least one.
    pub(super) trials: Vec<&'a Trial>,
}

impl<'a> Group<'a> {
    /// The failure that stands for all: the last that comes with something printed, else the last.
    pub(super) fn example(&self) -> Option<(&'a Trial, &'a Failure)> {
        let known = |trial: &&'a Trial| trial.failure.as_ref().map(|failure| (*trial, failure));
        let mut known = self.trials.iter().rev().filter_map(known);
        let last = known.next()?;
        let has_printed = |(_, failure): &(&Trial, &Failure)| {
            failure.stderr_excerpt.is_some() || failure.stdout_excerpt.is_some()
        };
        Some(if has_printed(&last) { last } else { known.find(has_printed).unwrap_or(last) })
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Mark<'a> {
    Fingerprint(&'a str),
    Message(FailureClass, &'a str),
    Unexplained,
}

/// The failed ones of `trials`, the largest group first.
pub(super) fn grouped(trials: &[Trial]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut by_mark: HashMap<Mark<'_>, usize> = HashMap::new();
    for trial in trials.iter().filter(|trial| trial.status == TrialStatus::Failed) {
        let marks = marks_of(trial);
        let known = marks.iter().find_map(|mark| by_mark.get(mark).copied());
        let index = known.unwrap_or(groups.len());
        for mark in marks {
            by_mark.entry(mark).or_insert(index);
        }
        match groups.get_mut(index) {
            Some(group) => group.trials.push(trial),
            None => groups.push(Group { trials: vec![trial] }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.trials.len()));
    groups
}

fn marks_of(trial: &Trial) -> Vec<Mark<'_>> {
    let Some(failure) = &trial.failure else { return vec![Mark::Unexplained] };
    let fingerprint = Some(failure.fingerprint.as_str()).filter(|text| !text.is_empty());
    let message = Mark::Message(failure.class, &failure.message);
    fingerprint.map(Mark::Fingerprint).into_iter().chain([message]).collect()
}

#[cfg(test)]
mod tests {
    use schemas::{Json, RunId, Stage, TrialId};

    use super::*;

    fn trial(number: u32, failure: Option<Failure>) -> Trial {
        Trial {
            trial_id: TrialId::numbered(&RunId::parse("r").unwrap(), number.into()),
            number: Some(number),
            status: TrialStatus::Failed,
            objective: None,
            attempt: None,
            duration_ms: None,
            failure_class: None,
            failure_message: None,
            failure,
            parameters: Json::object(),
            mlflow_run_id: None,
        }
    }

    fn failure(message: &str, fingerprint: Option<&str>) -> Option<Failure> {
        let mut failure = Failure::new(FailureClass::UserCode, Stage::Execute, message);
        fingerprint.unwrap_or(&failure.fingerprint.clone()).clone_into(&mut failure.fingerprint);
        Some(failure)
    }

    fn numbers(trials: &[Trial]) -> Vec<Vec<u32>> {
        let of_group = |group: &Group<'_>| group.trials.iter().filter_map(|trial| trial.number).collect();
        grouped(trials).iter().map(of_group).collect()
    }

    #[test]
    fn what_shares_a_fingerprint_or_class_and_message_is_one_group_and_the_largest_comes_first() {
        let mut trials = vec![
            trial(0, failure("alone", None)),
            trial(1, failure("step 7 exploded", None)),
            trial(2, failure("step 812 exploded", None)),
            trial(3, failure("boom", Some(""))),
            trial(4, failure("boom", Some("f"))),
            trial(5, failure("bang", Some("f"))),
            trial(6, None),
            trial(7, failure("alone", None)),
        ];
        trials[7].status = TrialStatus::Pruned;
        assert_eq!(numbers(&trials), [vec![3, 4, 5], vec![1, 2], vec![0], vec![6]]);
    }

    #[test]
    fn a_group_is_told_by_its_last_trial_that_printed_something() {
        let printed = failure("boom", None).map(|failure| failure.with_output("", "help!"));
        let trials = [trial(0, printed.clone()), trial(1, printed), trial(2, failure("boom", None))];
        let groups = grouped(&trials);
        assert_eq!(groups[0].example().unwrap().0.number, Some(1));
        assert_eq!(grouped(&trials[2..])[0].example().unwrap().0.number, Some(2));
        assert!(grouped(&[trial(0, None)])[0].example().is_none());
    }
}

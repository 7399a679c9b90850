//! What a scenario found.

use std::time::Duration;

use service_kit::error::CliError;

use crate::table::{Figure, Finding, Target, Unit};

/// Sentences that are told; a scenario that breaks a thousand promises breaks them all alike.
const TOLD: usize = 10;
/// None may be broken.
const TARGET: Target = Target::OursAtMost(Figure::new(0.0, Unit::Broken));

/// Why a scenario was not played to its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// What had to happen did not: a promise that was not kept.
    Overdue(String),
    /// It cannot be played on this machine.
    Fault(CliError),
}

impl From<CliError> for Halt {
    fn from(fault: CliError) -> Self {
        Self::Fault(fault)
    }
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct Report {
    name: &'static str,
    broken: Vec<String>,
    figures: Vec<Finding>,
}

impl Report {
    /// Nothing was found yet.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, broken: Vec::new(), figures: Vec::new() }
    }

    /// Adds promises that were not kept, a sentence each.
    pub(super) fn broke(&mut self, sentences: impl IntoIterator<Item = String>) {
        self.broken.extend(sentences);
    }

    /// Adds one unless `is_kept`.
    pub(super) fn expect(&mut self, is_kept: bool, sentence: impl FnOnce() -> String) {
        if !is_kept {
            self.broken.push(sentence());
        }
    }

    /// Adds a figure for the record.
    pub(super) fn figure(&mut self, what: &str, figure: Figure) {
        self.figures.push(Finding::alone(format!("chaos, {}: {what}", self.name), figure, Target::None));
    }

    /// Adds a duration for the record.
    pub(super) fn took(&mut self, what: &str, took: Duration) {
        self.figure(what, Figure::seconds(took));
    }

    /// Adds how often the scenario struck, which has to be as often as it was meant to: else it proves less.
    pub(super) fn struck(&mut self, what: &str, times: usize, meant: usize) {
        let figure =
            |times: usize| Figure::new(f64::from(u32::try_from(times).unwrap_or(u32::MAX)), Unit::Count);
        let name = format!("chaos, {}: {what}", self.name);
        self.figures.push(Finding::alone(name, figure(times), Target::OursAtLeast(figure(meant))));
    }

    /// True while every promise was kept.
    pub(super) fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }

    /// The first of what was broken, and how many more there were.
    pub(super) fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = self.broken.iter().take(TOLD).cloned().collect();
        if self.broken.len() > TOLD {
            told.push(format!("and {} more", self.broken.len() - TOLD));
        }
        told
    }

    /// The rows: the verdict first. `fault` says why the scenario could not be played.
    pub(super) fn rows(self, title: &str, fault: Option<String>) -> Vec<Finding> {
        let name = format!("chaos, {}: {title}", self.name);
        let remark = self.told().join("; ");
        let count = f64::from(u32::try_from(self.broken.len()).unwrap_or(u32::MAX));
        let verdict = match fault {
            Some(fault) => Finding::missing(name, TARGET, fault),
            None => Finding::alone(name, Figure::new(count, Unit::Broken), TARGET),
        };
        let verdict = if remark.is_empty() { verdict } else { verdict.with_remark(remark) };
        std::iter::once(verdict).chain(self.figures).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Verdict;

    #[test]
    fn a_broken_promise_is_a_missed_row_that_says_which() {
        let mut report = Report::new("kills");
        report.expect(true, || unreachable!("it was kept"));
        report.struck("kills that hit the run", 19, 20);
        assert!(report.is_clean());
        report.broke((0..12).map(|number| format!("trial {number} is missing")));
        assert_eq!(report.told().last().unwrap(), "and 2 more");
        let rows = report.rows("20 kills", None);
        let verdicts: Vec<_> = rows.iter().map(Finding::verdict).collect();
        assert_eq!(verdicts, [Verdict::Missed, Verdict::Missed]);
        assert!(rows[0].remark().unwrap().starts_with("trial 0 is missing; "));
    }

    #[test]
    fn a_scenario_that_could_not_be_played_proves_nothing() {
        let rows = Report::new("kills").rows("20 kills", Some("no disk".to_owned()));
        assert_eq!(rows[0].verdict(), Verdict::NotMeasured);
    }
}

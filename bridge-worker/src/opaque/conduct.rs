//! An opaque run, decided: which of its trials count, when the function is stopped, how the run ends.
//!
//! Pure. Invariants:
//! - no more trials count than `budget.max_trials`, over all attempts; one more stops the function;
//! - a number counts once, whoever tells of it how often;
//! - once the run is to end, nothing changes how, except that an interrupted or stale one has no time for it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use schemas::event::{Direction, TrialReported, TrialStatus};
use schemas::{Failure, FailureClass, Stage};
use search::Best;
use serde_json::Value;

use crate::plan::RunPlan;
use crate::resume::usable_objective_of;
use crate::supervisor::News;
use crate::supervisor::{Ending, Stop};

/// What becomes of a trial the function tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It counts, under this number.
    New(u32),
    /// Its number is known, so it changes nothing; whether it was told with the same parameters.
    Known {
        /// The number.
        number: u32,
        /// The parameters are those it was told with before.
        is_same: bool,
    },
    /// It is too much, or the run is over.
    Beyond,
}

/// How the function came back.
#[derive(Debug)]
pub(super) enum Returned {
    /// With a result that holds.
    Well,
    /// Without one.
    Badly(Failure),
    /// Not at all: it was interrupted, or could not speak.
    Dropped,
    /// It was not called, because nothing can be called here.
    Never {
        /// Why.
        reason: String,
    },
}

/// The decisions about one attempt.
#[derive(Debug)]
pub(super) struct Conduct {
    max_trials: u32,
    max_failed: Option<u32>,
    max_consecutive: Option<u32>,
    direction: Direction,
    objective: String,
    /// Numbers that count, each with a hash of the trial's parameters.
    known: BTreeMap<u32, u64>,
    next: u32,
    failed: u32,
    failed_in_a_row: u32,
    last_failure: Option<Failure>,
    best: Option<Best>,
    is_calling: bool,
    is_draining: bool,
    ending: Option<Ending>,
}

impl Conduct {
    pub(super) fn new(plan: &RunPlan) -> Self {
        let budget = &plan.request.budget;
        Self {
            max_trials: budget.max_trials,
            max_failed: budget.max_failed_trials,
            max_consecutive: budget.max_consecutive_failures,
            direction: plan.direction,
            objective: plan.request.objective.clone(),
            known: BTreeMap::new(),
            next: 0,
            failed: 0,
            failed_in_a_row: 0,
            last_failure: None,
            best: None,
            is_calling: false,
            is_draining: false,
            ending: None,
        }
    }

    /// Takes a trial of an earlier attempt, in the order in which they were told.
    pub(super) fn resume(&mut self, trial: &TrialReported) {
        if let Some(number) = trial.number
            && !self.is_known(number)
        {
            self.count(number, trial);
        }
    }

    /// The function is called anew: it numbers its trials from 0.
    pub(super) fn begin(&mut self) {
        self.next = 0;
        self.is_calling = true;
    }

    /// The function came back.
    pub(super) fn rest(&mut self) {
        self.is_calling = false;
    }

    /// The number a trial without one would have.
    pub(super) fn next_number(&self) -> u32 {
        self.next
    }

    /// True when so many more trials may count.
    pub(super) fn has_room_for(&self, more: usize) -> bool {
        self.known.len() + more <= self.max_trials as usize
    }

    /// True when a trial of this number counts already.
    pub(super) fn is_known(&self, number: u32) -> bool {
        self.known.contains_key(&number)
    }

    /// Whether a trial counts that is told of, with this number if it names one.
    pub(super) fn admit(&mut self, number: Option<u32>, parameters: &Value) -> Admission {
        let number = number.unwrap_or(self.next);
        if let Some(known) = self.known.get(&number) {
            self.next = number.saturating_add(1);
            return Admission::Known { number, is_same: *known == hash(parameters) };
        }
        if self.ending.is_none() && self.completed() >= self.max_trials {
            self.ending = Some(self.out_of("max_trials", FailureClass::UserCode, "no trial succeeded"));
        }
        if self.ending.is_some() {
            return Admission::Beyond;
        }
        self.next = number.saturating_add(1);
        Admission::New(number)
    }

    /// Takes a trial that is durable now, and says whether the function is to be stopped.
    pub(super) fn count(&mut self, number: u32, trial: &TrialReported) -> Option<Stop> {
        self.known.insert(number, hash(&trial.parameters.0));
        if trial.status == TrialStatus::Failed {
            self.failed += 1;
            self.failed_in_a_row += 1;
            self.last_failure = trial.failure.clone().or(self.last_failure.take());
        } else {
            self.failed_in_a_row = 0;
        }
        if let Some(objective) = usable_objective_of(trial, &self.objective) {
            let is_better = self.best.as_ref().is_none_or(|best| match self.direction {
                Direction::Maximize => objective > best.objective,
                Direction::Minimize => objective < best.objective,
            });
            if is_better {
                let parameters = trial.parameters.0.as_object().cloned().unwrap_or_default();
                self.best = Some(Best { number: number.into(), objective, parameters });
            }
        }
        self.check_failures();
        self.order()
    }

    fn check_failures(&mut self) {
        let is_over = |limit: Option<u32>, count: u32| limit.is_some_and(|limit| count >= limit);
        let (budget, what) = if is_over(self.max_failed, self.failed) {
            ("max_failed_trials", format!("{} trials failed", self.failed))
        } else if is_over(self.max_consecutive, self.failed_in_a_row) {
            ("max_consecutive_failures", format!("{} trials failed in a row", self.failed_in_a_row))
        } else {
            return;
        };
        if self.ending.is_none() {
            let failure = self.worded(FailureClass::UserCode, &format!("{what} (budget.{budget})"));
            self.ending = Some(Ending::Failed { failure: Box::new(failure), budget: Some(budget) });
        }
    }

    /// Takes what comes from outside, and says whether the function is to be stopped.
    pub(super) fn hear(&mut self, news: News) -> Option<Stop> {
        match news {
            // One call is under way at a time, whatever the request allows.
            News::Scale { .. } => {}
            News::Drain => {
                self.is_draining = true;
                // What is under way may finish; what is not does not begin.
                if !self.is_calling && self.ending.is_none() {
                    self.ending = Some(Ending::Interrupted);
                }
            }
            News::Stale => self.ending = Some(Ending::Stale),
            News::Interrupt if self.ending != Some(Ending::Stale) => {
                self.ending = Some(Ending::Interrupted);
            }
            News::Cancel { reason } if self.ending.is_none() => {
                self.ending = Some(Ending::Cancelled { reason });
            }
            News::OutOfTime if self.ending.is_none() => {
                let what = "the run's time (budget.max_seconds) was up before any trial succeeded";
                self.ending = Some(self.out_of("max_seconds", FailureClass::TimeoutRun, what));
            }
            News::Interrupt | News::Cancel { .. } | News::OutOfTime => {}
        }
        self.order()
    }

    /// Whether the function is to be stopped, and how.
    pub(super) fn order(&self) -> Option<Stop> {
        self.ending.as_ref().map(|ending| match ending {
            Ending::Stale | Ending::Interrupted | Ending::HandedBack { .. } => Stop::Dropped,
            Ending::Completed { .. } | Ending::Failed { .. } | Ending::Cancelled { .. } => Stop::Cancelled,
        })
    }

    /// True when the function may be called again.
    pub(super) fn may_go_on(&self) -> bool {
        self.ending.is_none() && !self.is_draining
    }

    /// How the run ends now that the function came back.
    pub(super) fn end(&mut self, returned: Returned) -> Ending {
        self.ending.take().unwrap_or_else(|| match returned {
            Returned::Well => Ending::Completed { status: "succeeded" },
            Returned::Badly(failure) => Ending::Failed { failure: Box::new(failure), budget: None },
            Returned::Dropped => Ending::Interrupted,
            Returned::Never { reason } => Ending::HandedBack { reason },
        })
    }

    /// The end of a run whose budget is used up: with the best trial there is.
    fn out_of(&self, budget: &'static str, class: FailureClass, without: &str) -> Ending {
        if self.best.is_some() {
            return Ending::Completed { status: budget };
        }
        Ending::Failed { failure: Box::new(self.worded(class, without)), budget: Some(budget) }
    }

    fn worded(&self, class: FailureClass, what: &str) -> Failure {
        match &self.last_failure {
            Some(last) if class != FailureClass::TimeoutRun => {
                Failure { message: format!("{what}; the last: {}", last.message), ..last.clone() }
            }
            Some(_) | None => Failure::new(class, Stage::Execute, what),
        }
    }

    /// Trials that count, and how many of them failed.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.completed(), self.failed)
    }

    /// The best of them.
    pub(super) fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    fn completed(&self) -> u32 {
        u32::try_from(self.known.len()).unwrap_or(u32::MAX)
    }
}

/// Objects are kept in the order of their names, so that equal parameters have equal hashes.
fn hash(parameters: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    parameters.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;

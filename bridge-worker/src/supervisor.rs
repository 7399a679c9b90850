//! One run, decided: which trial to start, when to stop, how it ends.
//!
//! Pure: results and time come in as [`Input`], what to do goes out as [`Command`]. The shell executes commands in
//! order and reports what became of them. Invariants:
//! - exactly one [`Command::Finish`], and nothing after it;
//! - a trial is started at most once, and never after the run began to stop;
//! - a run that was interrupted says nothing about trials it did not finish, so that the next attempt trains them.

mod command;
mod ending;
mod input;

use schemas::event::TrialStatus;
use schemas::{Failure, FailureClass, Stage};
use search::{Best, Evaluation, Generation, Search};

pub use command::{Command, Stop};
pub use ending::Ending;
pub use input::{Input, News};

/// The limits the supervisor watches; the number of trials is the search's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Failed trials after which the run fails.
    pub max_failed_trials: Option<u32>,
    /// Failed trials in a row, in the order in which they ended, after which the run fails.
    pub max_consecutive_failures: Option<u32>,
    /// Trials that may be under way at once; the search's own limit when absent.
    pub parallelism: Option<u32>,
}

/// One run.
pub struct Supervisor {
    search: Search,
    limits: Limits,
    phase: Phase,
    under_way: u64,
    failed: u32,
    failed_in_a_row: u32,
    completed: u32,
    last_failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Searching,
    /// Waiting for the trials under way, then ending so.
    Ending(Ending),
    /// Waiting for the trials under way, which may still finish the search.
    Draining,
    Over,
}

impl Supervisor {
    /// A run with nothing trained yet.
    pub fn new(search: Search, limits: Limits) -> Self {
        Self {
            search,
            limits,
            phase: Phase::Searching,
            under_way: 0,
            failed: 0,
            failed_in_a_row: 0,
            completed: 0,
            last_failure: None,
        }
    }

    /// Takes a trial of an earlier attempt, before the first command and in the order in which they ended. True when it
    /// was new.
    pub fn resume(&mut self, number: u64, evaluation: Evaluation, failure: Option<Failure>) -> bool {
        self.learn(number, evaluation, failure)
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, input: Input) -> Vec<Command> {
        let mut commands = Vec::new();
        match input {
            Input::Ended { number, evaluation, failure } => {
                self.under_way = self.under_way.saturating_sub(1);
                self.learn(number, evaluation, failure);
            }
            Input::Dropped { .. } => self.under_way = self.under_way.saturating_sub(1),
            Input::Outside(news) => self.hear(news, &mut commands),
            Input::Abort(failure) => {
                self.under_way = self.under_way.saturating_sub(1);
                let ending = Ending::Failed { failure: Box::new(failure), budget: None };
                self.stop(ending, Stop::Cancelled, &mut commands)
            }
            Input::HandBack { reason } => {
                self.under_way = self.under_way.saturating_sub(1);
                self.stop(Ending::HandedBack { reason }, Stop::Dropped, &mut commands);
            }
        }
        self.check_failures(&mut commands);
        self.advance(&mut commands);
        commands
    }

    fn hear(&mut self, news: News, commands: &mut Vec<Command>) {
        match news {
            News::Cancel { reason } => self.stop(Ending::Cancelled { reason }, Stop::Cancelled, commands),
            News::Drain => {
                if self.phase == Phase::Searching {
                    self.phase = Phase::Draining;
                }
            }
            News::Interrupt => self.stop(Ending::Interrupted, Stop::Dropped, commands),
            News::Stale => self.stop(Ending::Stale, Stop::Dropped, commands),
            News::OutOfTime => {
                let ending = match self.search.best() {
                    Some(_) => Ending::Completed { status: "max_seconds" },
                    None => Ending::Failed {
                        failure: Box::new(Failure::new(
                            FailureClass::TimeoutRun,
                            Stage::Execute,
                            "the run's time (budget.max_seconds) was up before any trial succeeded",
                        )),
                        budget: Some("max_seconds"),
                    },
                };
                self.stop(ending, Stop::Cancelled, commands);
            }
            News::Scale { parallelism } => self.limits.parallelism = Some(parallelism.max(1)),
        }
    }

    /// The first commands of a run.
    pub fn start(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        self.check_failures(&mut commands);
        self.advance(&mut commands);
        commands
    }

    /// The best trial so far.
    pub fn best(&self) -> Option<&Best> {
        self.search.best()
    }

    /// Trials that ended, and how many of them failed.
    pub fn counts(&self) -> (u32, u32) {
        (self.completed, self.failed)
    }

    /// The generations so far.
    pub fn history(&self) -> Vec<Generation> {
        self.search.history()
    }

    fn learn(&mut self, number: u64, evaluation: Evaluation, failure: Option<Failure>) -> bool {
        let is_failed = evaluation.status == search::Status::Failed;
        match self.search.record(number, evaluation) {
            Ok(search::Recorded::New) => {}
            Ok(search::Recorded::Duplicate) | Err(_) => return false,
        }
        self.completed += 1;
        self.failed_in_a_row = if is_failed { self.failed_in_a_row + 1 } else { 0 };
        if is_failed {
            self.failed += 1;
            self.last_failure = failure.or(self.last_failure.take());
        }
        true
    }

    /// Begins to stop. A run that already stops keeps its ending, except that a stale or interrupted one has no
    /// time left for another.
    fn stop(&mut self, ending: Ending, how: Stop, commands: &mut Vec<Command>) {
        let overrules = matches!(ending, Ending::Stale | Ending::Interrupted);
        match &self.phase {
            Phase::Over => return,
            Phase::Ending(Ending::Stale) => return,
            Phase::Ending(_) if !overrules => return,
            Phase::Ending(_) | Phase::Searching | Phase::Draining => {}
        }
        self.phase = Phase::Ending(ending);
        if self.under_way > 0 {
            commands.push(Command::StopTrials(how));
        }
    }

    fn advance(&mut self, commands: &mut Vec<Command>) {
        if self.phase == Phase::Searching {
            let limit = self.limits.parallelism.map_or(u64::MAX, u64::from);
            while self.under_way < limit
                && let Some(proposal) = self.search.propose()
            {
                self.under_way += 1;
                commands.push(Command::Train(proposal));
            }
        }
        if self.under_way > 0 {
            return;
        }
        let ending = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over => return,
            Phase::Ending(ending) => ending,
            Phase::Searching => self.natural_ending(),
            Phase::Draining if self.search.is_finished() => self.natural_ending(),
            Phase::Draining => Ending::Interrupted,
        };
        commands.push(Command::Finish(ending));
    }
}

/// A trial's status as the search knows it.
pub fn search_status(status: TrialStatus) -> search::Status {
    match status {
        TrialStatus::Succeeded => search::Status::Succeeded,
        TrialStatus::Failed => search::Status::Failed,
        TrialStatus::Skipped => search::Status::Skipped,
        TrialStatus::Cancelled => search::Status::Cancelled,
        TrialStatus::Pruned => search::Status::Pruned,
    }
}

#[cfg(test)]
mod tests;

//! Where a run stands: what its end, however it comes, has to tell.
//!
//! Pure.

use std::time::Duration;

use schemas::event::{ArtifactRef, Direction, RunRequested, TrialReported, TrialStatus};
use schemas::{Failure, FailureClass, Real, RunId, Stage, TrialId};
use search::Best;
use service_kit::registry::RunRecord;

use crate::best::files_of;
use crate::opaque::Told;
use crate::resume::{Checkpoint, evaluation_of};

/// Where a run stands.
#[derive(Debug, Default)]
pub struct Account {
    /// Trials that ended.
    pub completed: u32,
    /// How many of them failed.
    pub failed: u32,
    /// The best of them.
    pub best: Option<Best>,
    /// The files of the best.
    pub files: Vec<ArtifactRef>,
    /// Places of every file a trial of the run has told of.
    pub kept: Vec<String>,
    /// The course of the search, as JSON.
    pub history: serde_json::Value,
    /// Time attempts have worked on the run.
    pub took: Duration,
    /// The record of the run was opened, and has to be closed with the run.
    pub is_opened: bool,
    /// An earlier attempt may have left files no trial tells of.
    pub has_leftovers: bool,
    /// What the end of the run warns of.
    pub warnings: Vec<String>,
    /// The result of a search that is not ours.
    pub told: Option<Told>,
    /// The end of what it printed.
    pub printed: Option<String>,
}

impl Account {
    /// What earlier attempts have left.
    pub fn of(checkpoint: &Checkpoint, request: &RunRequested) -> Self {
        let mut account = Self {
            took: checkpoint.active(),
            is_opened: checkpoint.is_opened,
            history: serde_json::json!([]),
            kept: checkpoint
                .trials
                .iter()
                .flat_map(|(_, trial)| files_of(trial))
                .map(|file| file.uri)
                .collect(),
            has_leftovers: true,
            ..Self::default()
        };
        for (number, trial) in &checkpoint.trials {
            account.count(*number, trial, request);
        }
        account
    }

    fn count(&mut self, number: u64, trial: &TrialReported, request: &RunRequested) {
        self.completed += 1;
        self.failed += u32::from(trial.status == TrialStatus::Failed);
        let (evaluation, _) = evaluation_of(trial, &request.objective);
        let Some(objective) = evaluation.usable_objective() else { return };
        let is_better = self.best.as_ref().is_none_or(|best| match direction(request) {
            Direction::Maximize => objective > best.objective,
            Direction::Minimize => objective < best.objective,
        });
        if is_better {
            self.best = Some(Best { number, objective, parameters: evaluation.parameters });
            self.files = files_of(trial);
        }
    }

    /// The best objective: what a search that is not ours says it is, otherwise that of the best trial.
    pub fn best_metric(&self) -> Option<f64> {
        self.told.as_ref().map(|told| told.best_metric).or(self.best.as_ref().map(|best| best.objective))
    }

    /// What the best model is: in the words of a search that is not ours, otherwise the parameters of the best trial.
    pub fn best_model(&self) -> serde_json::Value {
        let of_best = |best: &Best| best.parameters.clone().into();
        let of_told = self.told.as_ref().map(|told| told.best_model.clone());
        of_told.or(self.best.as_ref().map(of_best)).unwrap_or_else(|| serde_json::json!({}))
    }

    /// Id of the best trial.
    pub fn best_trial_id(&self, run: &RunId) -> Option<String> {
        self.best.as_ref().map(|best| TrialId::numbered(run, best.number).to_string())
    }

    /// Holds a result against what a run that completed promises: a best trial with a number one can compare, not more
    /// trials than were asked for, and all of them unless a budget ended it.
    ///
    /// # Errors
    /// Which promise is broken. That would be a defect of ours; the run fails rather than lie.
    pub fn check(&self, request: &RunRequested, status: &str) -> Result<(), Failure> {
        if self.told.is_some() {
            // It was held against what was agreed when it came back; how many trials it took is its own to say.
            return Ok(());
        }
        let broken = |what: String| Err(Failure::new(FailureClass::Unknown, Stage::Execute, what));
        match &self.best {
            None => return broken("the run ended well without a best trial".to_owned()),
            Some(best) if !best.objective.is_finite() => {
                return broken(format!("the best objective is {}", best.objective));
            }
            Some(_) => {}
        }
        let asked_for = request.budget.max_trials;
        let is_whole = status == "succeeded";
        if self.completed > asked_for || (is_whole && self.completed != asked_for) {
            return broken(format!("{} trials ended where {asked_for} were asked for", self.completed));
        }
        Ok(())
    }

    /// The record with where the run stands.
    pub fn fill(&self, record: RunRecord) -> RunRecord {
        RunRecord {
            completed_trials: self.completed,
            failed_trials: self.failed,
            best_metric: self.best_metric().map(Real),
            best_trial_id: self.best_trial_id(&record.run_id),
            ..record
        }
    }
}

fn direction(request: &RunRequested) -> Direction {
    request.direction.unwrap_or_else(|| match search::direction_of(&request.objective) {
        search::Direction::Maximize => Direction::Maximize,
        search::Direction::Minimize => Direction::Minimize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(completed: u32, objective: Option<f64>) -> Account {
        let best = |objective| Best { number: 0, objective, parameters: serde_json::Map::new() };
        Account { completed, best: objective.map(best), ..Account::default() }
    }

    #[test]
    fn a_result_that_breaks_a_promise_is_no_success() {
        let request = RunRequested::new("digits");
        let check = |completed, objective, status| account(completed, objective).check(&request, status);
        assert!(check(10, Some(0.5), "succeeded").is_ok());
        assert!(check(3, Some(0.5), "max_seconds").is_ok());
        for (completed, objective, status) in [
            (10, None, "succeeded"),
            (10, Some(f64::NAN), "succeeded"),
            (9, Some(0.5), "succeeded"),
            (11, Some(0.5), "max_seconds"),
        ] {
            assert!(check(completed, objective, status).is_err(), "{completed} {objective:?} {status}");
        }
    }
}

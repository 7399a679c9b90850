//! What everything MLflow has of us comes to, held against what it should have.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::RunId;

use super::finding::{Finding, Kind};
use super::survey::{Key, Scope, Sighting, Stuck, Survey, image_of};
use crate::projection::expected::Expected;
use crate::projection::parent::RUN_TAG;
use crate::projection::trial::PARENT_TAG;

/// Runs of an experiment that was deleted as a whole.
struct Deleted<'a> {
    name: &'a str,
    first: &'a RunId,
    runs: usize,
}

impl Deleted<'_> {
    fn told(self, id: &str) -> Finding {
        let Self { name, first, runs } = self;
        let detail = format!(
            "the experiment {name} was deleted in MLflow with {runs} runs; to have them back: `mlflow experiments restore \
             --experiment-id {id}`"
        );
        Finding { run: first.clone(), trial: None, kind: Kind::DeletedExperiment, detail, repaired: false }
    }
}

impl Survey {
    /// What all of it comes to. `births`: the MLflow run the broker knows for a key, of those that are ambiguous.
    /// `ours`: runs the stream does not know that are this broker's.
    pub fn judge(
        &self,
        expected: &Expected,
        scope: &Scope,
        births: &BTreeMap<Key, String>,
        ours: &BTreeSet<RunId>,
    ) -> Vec<Finding> {
        let (mut findings, mut deleted) = (Vec::new(), BTreeMap::<&String, Deleted>::new());
        for (run, known) in expected.runs.iter().filter(|(run, _)| scope.takes(run)) {
            let key = (run.clone(), None);
            let kept = self.kept(&key, births);
            if let Some((id, name)) = kept.and_then(|kept| self.deleted_experiment_of(kept)) {
                deleted.entry(id).or_insert(Deleted { name, first: run, runs: 0 }).runs += 1;
                continue;
            }
            let parent = kept.map(|kept| Arc::clone(&kept.id));
            if known.is_refused && !self.sightings.contains_key(&key) {
                continue;
            }
            self.judge_key(&key, births, None, &mut findings);
            for (trial, known) in &known.trials {
                let key = (run.clone(), Some(trial.clone()));
                if known.is_refused && !self.sightings.contains_key(&key) {
                    continue;
                }
                self.judge_key(&key, births, parent.as_deref(), &mut findings);
            }
        }
        findings.extend(deleted.into_iter().map(|(id, deleted)| deleted.told(id)));
        self.judge_orphans(expected, scope, ours, &mut findings);
        findings.extend(scope.stuck.iter().map(|(run, stuck)| {
            let Stuck { sequence, since, reason } = stuck;
            let detail = format!(
                "event {sequence} of {since} waits, and what comes behind it; it is not compared. MLflow does not take it: \
                 {reason}"
            );
            Finding { run: run.clone(), trial: None, kind: Kind::Stuck, detail, repaired: false }
        }));
        findings
    }

    fn judge_key(
        &self,
        key: &Key,
        births: &BTreeMap<Key, String>,
        parent: Option<&str>,
        findings: &mut Vec<Finding>,
    ) {
        let mut tell = |kind: Kind, detail: String| {
            let (run, trial) = key.clone();
            findings.push(Finding { run, trial, kind, detail, repaired: false });
        };
        let Some(kept) = self.kept(key, births) else {
            return tell(Kind::MissingRun, "MLflow has no run for it".to_owned());
        };
        if kept.is_deleted {
            tell(Kind::DeletedRun, format!("the MLflow run {} was deleted", kept.id));
        }
        for wrong in &kept.wrong {
            tell(wrong.kind, wrong.detail.clone());
        }
        if let Some(should) =
            parent.filter(|should| kept.parent.as_deref() != Some(should) && !kept.is_deleted)
        {
            let is = kept.parent.as_deref().unwrap_or("missing");
            tell(Kind::WrongTag, format!("tag {PARENT_TAG} is {is}, and should be {should}"));
        }
        for other in self.doubles(key, kept) {
            tell(Kind::Duplicate, format!("the MLflow run {} stands beside {}", other.id, kept.id));
        }
        for copy in self.copies(key, kept) {
            // Those of the trials are told by that of their run.
            let run = (key.0.clone(), None);
            let of_run = self.sightings.get(&run).into_iter().flatten();
            if key.1.is_some() && of_run.into_iter().any(|one| one.experiment == copy.experiment) {
                continue;
            }
            let detail = format!(
                "the MLflow run {} in experiment {} is a copy of {} somebody made, and is left alone; to be told of it no \
                 more, take its tag {RUN_TAG} away",
                copy.id, copy.experiment, kept.id
            );
            tell(Kind::Copy, detail);
        }
    }

    /// Runs of ours that nobody knows which the stream reaches back to: what may be another broker's is left alone.
    fn judge_orphans(
        &self,
        expected: &Expected,
        scope: &Scope,
        ours: &BTreeSet<RunId>,
        findings: &mut Vec<Finding>,
    ) {
        for (key, sightings) in &self.sightings {
            let (run, trial) = key;
            let is_known = image_of(expected, key).is_some();
            let is_of_ours = expected.runs.contains_key(run) || ours.contains(run);
            // The trials of an unknown run are told by it.
            let is_told = trial.is_some() && !expected.runs.contains_key(run);
            if is_known || !is_of_ours || is_told || !scope.takes(run) {
                continue;
            }
            let is_recent = |one: &&Sighting| scope.known_since.is_none_or(|since| one.start_time >= since);
            for one in sightings.iter().filter(|one| !one.is_deleted).filter(is_recent) {
                let detail = format!(
                    "nothing in the stream speaks of the MLflow run {}; if nobody needs it: `mlflow runs delete --run-id {}`",
                    one.id, one.id
                );
                let (run, trial) = (run.clone(), trial.clone());
                findings.push(Finding { run, trial, kind: Kind::Orphan, detail, repaired: false });
            }
        }
    }
}

#[cfg(test)]
mod tests;

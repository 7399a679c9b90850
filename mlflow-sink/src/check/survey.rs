//! Everything MLflow has of us, sorted by what it is of, and what that comes to.
//!
//! Pure: runs of the server in, findings out.
//!
//! Invariants: of several MLflow runs for one thing one is kept, that of its birth, else the oldest that is not deleted;
//! what is wrong with the others does not matter. A run that is still being written is not judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::{RunId, Timestamp, TrialId};
use service_kit::births::BIRTH_TAG;

use super::compare::{Wrong, compare, compare_history, is_torn};
use crate::client::HistoryPoint;
use crate::client::whole::WholeRun;
use crate::projection::expected::{Expected, Image, Name, Run};
use crate::projection::parent::{KIND_TAG, RUN_TAG};
use crate::projection::trial::{self, PARENT_TAG, TRIAL_TAG};
use crate::unsettled::Waiting;

/// What an MLflow run is of: a run, or a trial of it.
pub type Key = (RunId, Option<TrialId>);

/// One MLflow run that says it is of a key.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// MLflow's id.
    pub id: Arc<str>,
    /// Its experiment.
    pub experiment: String,
    /// MLflow's id of its parent.
    pub parent: Option<String>,
    /// The announcement it was made for.
    pub birth: Option<String>,
    /// It was deleted.
    pub is_deleted: bool,
    /// Milliseconds since 1970.
    pub start_time: i64,
    /// What is wrong with it.
    pub wrong: Vec<Wrong>,
}

impl Sighting {
    /// True for what somebody copied into another experiment with all its tags: no create of ours has a birth twice.
    fn is_copy_of(&self, kept: &Self) -> bool {
        self.birth.is_some() && self.birth == kept.birth && self.experiment != kept.experiment
    }
}

/// A run the sink cannot write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// The first event that waits.
    pub sequence: u64,
    /// When it came.
    pub since: Timestamp,
    /// MLflow's words.
    pub reason: String,
}

impl Stuck {
    pub(super) fn of(waiting: &Waiting, since: Timestamp) -> Self {
        Self { sequence: waiting.first, since, reason: waiting.reason.clone() }
    }
}

/// What to judge.
#[derive(Debug, Default)]
pub struct Scope {
    /// Runs that are still being written.
    pub moving: BTreeSet<RunId>,
    /// Those of them that the sink cannot write.
    pub stuck: BTreeMap<RunId, Stuck>,
    /// The first event that is still to be written: of which run, its sequence, when it came.
    pub waits_first: Option<(RunId, u64, Timestamp)>,
    /// Runs whose beginning is not in what was read of the stream.
    pub partial: BTreeSet<RunId>,
    /// Only this one.
    pub only: Option<RunId>,
    /// The stream knows of everything that began at this time or later; none: it knows of everything.
    pub known_since: Option<i64>,
}

impl Scope {
    /// True for a run that is compared.
    pub fn takes(&self, run: &RunId) -> bool {
        !self.moving.contains(run)
            && !self.partial.contains(run)
            && self.only.as_ref().is_none_or(|only| only == run)
    }
}

/// The runs of the server.
#[derive(Debug, Default)]
pub struct Survey {
    /// By what they are of.
    pub sightings: BTreeMap<Key, Vec<Sighting>>,
    /// Experiments somebody deleted, and their runs with them: names by id.
    pub deleted_experiments: BTreeMap<String, String>,
    /// Histories to be read: the MLflow runs that have points of each metric.
    pub histories: BTreeMap<Name, Vec<(Key, Arc<str>)>>,
}

impl Survey {
    /// Takes a run of the server. One that is not ours is not looked at, and neither is one once more: MLflow counts the runs of
    /// its pages, and one that comes in at the front meanwhile pushes the last of a page onto the next.
    pub fn see(&mut self, expected: &Expected, scope: &Scope, found: &WholeRun) {
        let Some(key) = key_of(found) else { return };
        if self.sightings.get(&key).is_some_and(|all| all.iter().any(|one| *one.id == *found.id)) {
            return;
        }
        let id: Arc<str> = found.id.as_str().into();
        let mut wrong = Vec::new();
        if let Some((image, run)) = image_of(expected, &key)
            && scope.takes(&key.0)
            && !found.is_deleted
        {
            wrong = compare(image, run.has_firm_curve(), &expected.names, found);
            if !is_torn(image, found) {
                self.note_histories(expected, &key, &id, image, found);
            }
        }
        let (parent, birth) = (found.tags.get(PARENT_TAG).cloned(), found.tags.get(BIRTH_TAG).cloned());
        let (experiment, is_deleted, start_time) =
            (found.experiment.clone(), found.is_deleted, found.start_time);
        let sighting = Sighting { id, experiment, parent, birth, is_deleted, start_time, wrong };
        self.sightings.entry(key).or_default().push(sighting);
    }

    fn note_histories(
        &mut self,
        expected: &Expected,
        key: &Key,
        id: &Arc<str>,
        image: &Image,
        found: &WholeRun,
    ) {
        for point in &found.metrics {
            let Some(name) = expected.names.find(&point.key).filter(|name| image.metric(*name).is_some())
            else {
                continue;
            };
            self.histories.entry(name).or_default().push((key.clone(), Arc::clone(id)));
        }
    }

    /// Takes the points a metric has in an MLflow run.
    pub fn see_history(
        &mut self,
        expected: &Expected,
        key: &Key,
        id: &str,
        name: Name,
        points: Vec<HistoryPoint>,
    ) {
        let Some((image, run)) = image_of(expected, key) else { return };
        let Some(tally) = image.metric(name) else { return };
        let text = expected.names.text(name);
        if tally.is_loose && !run.has_firm_curve() && key.1.is_none() {
            return;
        }
        let Some(wrong) = compare_history(text, tally, points) else { return };
        let sightings = self.sightings.get_mut(key).into_iter().flatten();
        sightings
            .filter(|sighting| &*sighting.id == id)
            .for_each(|sighting| sighting.wrong.push(wrong.clone()));
    }

    /// Every run there is something of.
    pub fn runs(&self) -> Vec<Key> {
        self.sightings.keys().filter(|(_, trial)| trial.is_none()).cloned().collect()
    }

    /// Trials of which only the births tell which MLflow run is used: there are several, or it is deleted, or it is below
    /// another run than that of its own.
    pub fn unclear_trials(&self, expected: &Expected, births: &BTreeMap<Key, String>) -> Vec<Key> {
        let is_clear = |(run, _): &Key, all: &[Sighting]| {
            let parent = self.kept(&(run.clone(), None), births).map(|kept| &*kept.id);
            matches!(all, [one] if !one.is_deleted && one.parent.as_deref() == parent)
        };
        let trials = self
            .sightings
            .iter()
            .filter(|((run, trial), _)| trial.is_some() && expected.runs.contains_key(run));
        trials.filter(|(key, all)| !is_clear(key, all)).map(|(key, _)| key.clone()).collect()
    }

    /// Leaves out what the sink of another broker has made for a run of the same name: it has a birth that is not ours.
    pub fn leave_out_foreign(&mut self, births: &BTreeMap<Key, String>, is_about_trials: bool) {
        let mut parents = BTreeMap::new();
        if is_about_trials {
            let kept = |key: &Key| self.kept(key, births).map(|kept| (key.0.clone(), kept.id.to_string()));
            parents = self.runs().iter().filter_map(kept).collect();
        }
        for (key, all) in
            self.sightings.iter_mut().filter(|((_, trial), _)| trial.is_some() == is_about_trials)
        {
            let born = births.get(key).map(String::as_str);
            let ours = all.iter().find(|one| Some(&*one.id) == born).and_then(|one| one.birth.clone());
            all.retain(|one| {
                let is_below_ours =
                    is_about_trials && one.parent.is_some() && one.parent.as_ref() == parents.get(&key.0);
                let is_born_here = Some(&*one.id) == born || (ours.is_some() && one.birth == ours);
                let is_birth_unknown = !is_about_trials && born.is_none();
                one.birth.is_none() || is_born_here || is_below_ours || is_birth_unknown
            });
        }
        self.sightings.retain(|_, all| !all.is_empty());
    }

    /// The MLflow run that is used for a key.
    pub fn kept(&self, key: &Key, births: &BTreeMap<Key, String>) -> Option<&Sighting> {
        let all = self.sightings.get(key)?;
        let born = births.get(key).and_then(|born| all.iter().find(|one| *one.id == **born));
        let oldest = || {
            let active = all.iter().filter(|one| !one.is_deleted);
            active.min_by_key(|one| (one.start_time, Arc::clone(&one.id)))
        };
        born.or_else(oldest).or_else(|| all.last())
    }

    /// The others of a key that are not deleted.
    fn others<'a>(&'a self, key: &Key, kept: &'a Sighting) -> impl Iterator<Item = &'a Sighting> {
        let all = self.sightings.get(key).into_iter().flatten();
        all.filter(move |one| one.id != kept.id && !one.is_deleted)
    }

    /// Those of them that stand in the way of the one that is kept.
    pub fn doubles<'a>(&'a self, key: &Key, kept: &'a Sighting) -> impl Iterator<Item = &'a Sighting> {
        self.others(key, kept).filter(move |one| !one.is_copy_of(kept))
    }

    /// Those of them that people made.
    pub fn copies<'a>(&'a self, key: &Key, kept: &'a Sighting) -> impl Iterator<Item = &'a Sighting> {
        self.others(key, kept).filter(move |one| one.is_copy_of(kept))
    }

    /// The experiment of a run that was deleted as a whole: its id and name.
    pub fn deleted_experiment_of(&self, kept: &Sighting) -> Option<(&String, &String)> {
        self.deleted_experiments.get_key_value(&kept.experiment)
    }

    /// Runs that have been seen and are not expected.
    pub fn unknown_runs(&self, expected: &Expected) -> BTreeSet<RunId> {
        let runs = self.sightings.keys().map(|(run, _)| run);
        runs.filter(|run| !expected.runs.contains_key::<RunId>(run)).cloned().collect()
    }
}

/// What an MLflow run is of, as its tags say.
fn key_of(found: &WholeRun) -> Option<Key> {
    let run = RunId::parse(found.tags.get(RUN_TAG)?).ok()?;
    if found.tags.get(KIND_TAG).map(String::as_str) == Some(trial::KIND) {
        let trial = found.tags.get(TRIAL_TAG).map_or("", String::as_str);
        return Some((run, Some(TrialId::from_text(trial))));
    }
    Some((run, None))
}

/// What is expected of a key, with the run it belongs to.
pub(super) fn image_of<'a>(expected: &'a Expected, (run, trial): &Key) -> Option<(&'a Image, &'a Run)> {
    let run = expected.runs.get(run)?;
    match trial {
        None => Some((&run.image, run)),
        Some(trial) => Some((&run.trials.get(trial)?.image, run)),
    }
}

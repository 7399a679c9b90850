//! The best objective that is known so far, shared by the trials of one run.
//!
//! It decides only which trials' files are kept. The best of the run is the search's to say; it always has its
//! files, because it was the best known when it ended.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use schemas::event::{ArtifactRef, Direction, TrialReported};

use crate::resume::Checkpoint;

/// Shared by the trials of a run.
#[derive(Debug, Default)]
pub struct BestSoFar {
    objective: Mutex<Option<f64>>,
    kept: Mutex<BTreeMap<u64, Vec<ArtifactRef>>>,
    has_leftovers: AtomicBool,
}

impl BestSoFar {
    /// Offers an objective; true when none known is better.
    pub fn offer(&self, direction: Direction, objective: f64) -> bool {
        let mut best = self.objective.lock().expect("nobody panics while holding the best");
        let is_best = best.is_none_or(|best| match direction {
            Direction::Maximize => objective >= best,
            Direction::Minimize => objective <= best,
        });
        if is_best {
            *best = Some(objective);
        }
        is_best
    }

    /// Remembers the files a trial left.
    pub fn keep(&self, number: u64, files: Vec<ArtifactRef>) {
        self.kept.lock().expect("nobody panics while holding the files").insert(number, files);
    }

    /// Notes that files were on their way when their trial was stopped: some may be there of which no trial tells.
    pub fn leave_behind(&self) {
        self.has_leftovers.store(true, Ordering::Relaxed);
    }

    /// True when there may be files of which no trial tells.
    pub fn has_leftovers(&self) -> bool {
        self.has_leftovers.load(Ordering::Relaxed)
    }

    /// The files a trial left.
    pub fn files_of(&self, number: u64) -> Vec<ArtifactRef> {
        self.kept
            .lock()
            .expect("nobody panics while holding the files")
            .get(&number)
            .cloned()
            .unwrap_or_default()
    }

    /// Places of every file a trial left.
    pub fn places(&self) -> Vec<String> {
        let kept = self.kept.lock().expect("nobody panics while holding the files");
        kept.values().flatten().map(|file| file.uri.clone()).collect()
    }

    /// Takes over the files of trials of earlier attempts.
    pub fn take_kept_of(&self, checkpoint: &Checkpoint) {
        for (number, trial) in &checkpoint.trials {
            let files = files_of(trial);
            if !files.is_empty() {
                self.keep(*number, files);
            }
        }
    }
}

/// The files a trial told of. Version 1 of the event told the place of the first file and nothing else.
pub fn files_of(trial: &TrialReported) -> Vec<ArtifactRef> {
    if !trial.artifact_refs.is_empty() {
        return trial.artifact_refs.clone();
    }
    let only_place =
        |uri: &String| ArtifactRef { uri: uri.clone(), checksum: None, bytes: None, media_type: None };
    trial.artifact_uri.iter().map(only_place).collect()
}

#[cfg(test)]
mod tests {
    use schemas::event::TrialStatus;
    use schemas::{RunId, TrialId};

    use super::*;

    #[test]
    fn files_of_an_earlier_attempt_are_known_as_far_as_its_build_told_them() {
        let run = RunId::parse("r").unwrap();
        let trial = |number: u64| TrialReported {
            artifact_uri: Some(format!("nats://b/{number}")),
            ..TrialReported::new(run.clone(), TrialId::numbered(&run, number), TrialStatus::Succeeded)
        };
        let whole = ArtifactRef {
            uri: "nats://b/2".into(),
            checksum: Some("sha256:00".into()),
            bytes: Some(3),
            media_type: None,
        };
        let mut checkpoint = Checkpoint::default();
        checkpoint.trials.push((1, trial(1)));
        checkpoint.trials.push((2, TrialReported { artifact_refs: vec![whole.clone()], ..trial(2) }));
        let best = BestSoFar::default();
        best.take_kept_of(&checkpoint);
        assert_eq!(best.files_of(2), [whole]);
        let [old] = &best.files_of(1)[..] else { panic!("version 1 told one file") };
        assert_eq!((old.uri.as_str(), &old.checksum), ("nats://b/1", &None));
        assert!(best.files_of(3).is_empty());
    }
}

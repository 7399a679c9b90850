//! The best objective that is known so far, shared by the trials of one run.
//!
//! It decides only which trials' files are kept. The best of the run is the search's to say; it always has its
//! files, because it was the best known when it ended.

use std::collections::BTreeMap;
use std::sync::Mutex;

use schemas::event::{ArtifactRef, Direction, TrialReported};

use crate::resume::Checkpoint;

/// Shared by the trials of a run.
#[derive(Debug, Default)]
pub struct BestSoFar {
    objective: Mutex<Option<f64>>,
    kept: Mutex<BTreeMap<u64, Vec<ArtifactRef>>>,
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

    /// The files a trial left.
    pub fn files_of(&self, number: u64) -> Vec<ArtifactRef> {
        self.kept
            .lock()
            .expect("nobody panics while holding the files")
            .get(&number)
            .cloned()
            .unwrap_or_default()
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

/// Version 1 of the event told the place of the first file and nothing else.
fn files_of(trial: &TrialReported) -> Vec<ArtifactRef> {
    if !trial.artifact_refs.is_empty() {
        return trial.artifact_refs.clone();
    }
    let only_place =
        |uri: &String| ArtifactRef { uri: uri.clone(), checksum: None, bytes: None, media_type: None };
    trial.artifact_uri.iter().map(only_place).collect()
}

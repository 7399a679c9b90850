//! A directory of one trial's own, removed when the trial is over.

use std::path::{Path, PathBuf};

use schemas::{Failure, FailureClass, RunId, Stage, TrialId};

/// Removes the directory when dropped.
#[derive(Debug)]
pub(super) struct Workdir(PathBuf);

impl Workdir {
    /// An empty directory for a trial; what an earlier attempt left there is removed first.
    pub(super) fn create(root: &Path, run: &RunId, trial: &TrialId) -> Result<Self, Failure> {
        let path = root.join(run.as_str()).join(trial.as_str());
        let created = match std::fs::remove_dir_all(&path) {
            Ok(()) => std::fs::create_dir_all(&path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::create_dir_all(&path),
            Err(error) => Err(error),
        };
        created.map_err(|error| {
            let message = format!("the working directory {} cannot be made: {error}", path.display());
            Failure::new(FailureClass::Dependency, Stage::Execute, message)
        })?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "working directory not removed");
        }
        // The run's directory goes with its last trial; while others are there this fails, as it should.
        if let Some(run) = self.0.parent() {
            let _ = std::fs::remove_dir(run);
        }
    }
}

//! Directories for trials to work in: each has one of its own, empty when it begins.
//!
//! A directory in which a trial left anything is removed; one that was not touched serves the next trial, because
//! making and removing it would cost more than a short trial itself.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use schemas::{Failure, FailureClass, Stage};

/// The working directories of one worker, all under a root of its own.
#[derive(Debug)]
pub struct Workdirs {
    root: PathBuf,
    idle: Mutex<Vec<Empty>>,
    made: AtomicU64,
}

/// A directory that holds nothing, and when that was last changed.
#[derive(Debug)]
struct Empty {
    path: PathBuf,
    changed: Option<SystemTime>,
}

impl Workdirs {
    /// Directories under `root`, which is removed with the worker.
    pub fn under(root: PathBuf) -> Arc<Self> {
        Arc::new(Self { root, idle: Mutex::default(), made: AtomicU64::new(0) })
    }

    /// An empty directory.
    ///
    /// # Errors
    /// When none can be made: the disk is full, or the root is not ours to write.
    pub fn take(self: &Arc<Self>) -> Result<Workdir, Failure> {
        let idle = self.idle().pop();
        let empty = match idle {
            Some(empty) => empty,
            None => self.make().map_err(|error| unusable(&self.root, &error))?,
        };
        Ok(Workdir { pool: self.clone(), empty: Some(empty) })
    }

    fn make(&self) -> std::io::Result<Empty> {
        let path = self.root.join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir_all(&path)?;
        // A time long past, because the clock of a file system is coarse: a file made right after the directory could
        // otherwise leave its time as it is.
        std::fs::File::open(&path)?.set_modified(SystemTime::UNIX_EPOCH)?;
        Ok(Empty { changed: changed(&path), path })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Empty>> {
        self.idle.lock().expect("nobody panics while holding the directories")
    }
}

impl Drop for Workdirs {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

/// A directory in use; given back or removed when dropped.
#[derive(Debug)]
pub struct Workdir {
    pool: Arc<Workdirs>,
    empty: Option<Empty>,
}

impl Workdir {
    /// Its path, absolute.
    pub fn path(&self) -> &Path {
        &self.empty.as_ref().expect("taken out only on drop").path
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        let Some(empty) = self.empty.take() else { return };
        // Every entry that is made or removed changes the time of the directory.
        let is_untouched = empty.changed.is_some() && changed(&empty.path) == empty.changed;
        if is_untouched { self.pool.idle().push(empty) } else { remove(&empty.path) }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|facts| facts.modified()).ok()
}

fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "working directory not removed"),
    }
}

fn unusable(root: &Path, error: &std::io::Error) -> Failure {
    let message = format!("no working directory can be made under {}: {error}", root.display());
    Failure::new(FailureClass::Dependency, Stage::Execute, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_trial_leaves_is_gone_and_an_untouched_directory_serves_the_next() {
        let scratch = testkit::Scratch::new();
        let workdirs = Workdirs::under(scratch.join("work"));
        let first = workdirs.take().unwrap();
        let path = first.path().to_owned();
        drop(first);
        let again = workdirs.take().unwrap();
        assert_eq!(again.path(), path);
        std::fs::write(again.path().join("left"), "x").unwrap();
        drop(again);
        assert!(!path.exists());
        let fresh = workdirs.take().unwrap();
        assert_eq!(std::fs::read_dir(fresh.path()).unwrap().count(), 0);
        drop((fresh, workdirs));
        assert!(!scratch.join("work").exists());
    }

    #[test]
    fn a_file_made_right_after_its_directory_is_noticed() {
        let scratch = testkit::Scratch::new();
        let workdirs = Workdirs::under(scratch.join("work"));
        for _ in 0..50 {
            let workdir = workdirs.take().unwrap();
            assert_eq!(std::fs::read_dir(workdir.path()).unwrap().count(), 0);
            std::fs::write(workdir.path().join("left"), "x").unwrap();
        }
    }

    #[test]
    fn two_trials_at_once_have_two_directories() {
        let scratch = testkit::Scratch::new();
        let workdirs = Workdirs::under(scratch.join("work"));
        let (one, two) = (workdirs.take().unwrap(), workdirs.take().unwrap());
        assert_ne!(one.path(), two.path());
    }

    #[test]
    fn a_root_that_cannot_be_written_is_a_failure_that_names_it() {
        let scratch = testkit::Scratch::new();
        let file = scratch.write("file", "x");
        let failure = Workdirs::under(file.clone()).take().unwrap_err();
        assert_eq!(failure.class, FailureClass::Dependency);
        assert!(failure.message.contains(file.to_str().unwrap()));
    }
}

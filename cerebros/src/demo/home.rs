//! Where one demo lives: `<data dir>/demo-<process id>`, with the tools of the data directory linked into it, and its
//! logs in `<data dir>/logs` under the same name.
//!
//! Invariants: it is gone when the demo ends, also after Ctrl-C; what a killed demo left is removed by the next one;
//! the logs of a demo that failed stay until the next one; what was asked to be kept stays and can be served with
//! `up --data-dir`.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use service_kit::error::CliError;
use service_kit::output::warning;

use crate::assembly::{Layout, Lock, unwritable};

const PREFIX: &str = "demo-";
/// Marks what nobody but its owner removes.
const KEPT: &str = "kept";

/// What stays of a demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stays {
    /// Nothing.
    Nothing,
    /// What its programs printed: it failed.
    Logs,
    /// All of it: `--keep`.
    Everything,
}

/// The directory of a running demo. Removed on drop.
#[derive(Debug)]
pub(super) struct Home {
    layout: Layout,
    stays: Stays,
    _lock: Lock,
}

impl Home {
    /// Makes the directory, and removes what demos left that were killed or failed.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub(super) fn create(base: &Layout) -> Result<Self, CliError> {
        remove_leftovers(base);
        let layout = Layout::create(&unused(base.root()))?;
        let logs = base.logs().join(layout.root().file_name().unwrap_or_default());
        let layout = layout.with_logs(logs);
        let lock = Lock::of_a_new(&layout)?;
        let home = Self { layout, stays: Stays::Nothing, _lock: lock };
        let tools = base.tools();
        let linked = std::fs::create_dir_all(&tools).and_then(|()| symlink(&tools, home.layout.tools()));
        linked.map_err(|error| unwritable(&tools, &error))?;
        Ok(home)
    }

    /// What lies where.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Ends it. Gives the directory if it stays.
    pub(super) fn leave(mut self, stays: Stays) -> Option<PathBuf> {
        self.stays = stays;
        let root = self.layout.root().to_owned();
        match stays {
            Stays::Nothing | Stays::Logs => None,
            Stays::Everything => {
                if let Err(error) = File::create(root.join(KEPT)) {
                    warning(format!("the next demo may remove {}: {error}", root.display()));
                }
                Some(root)
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        match self.stays {
            Stays::Nothing => {
                remove(self.layout.root());
                remove(self.layout.logs());
            }
            Stays::Logs => remove(self.layout.root()),
            Stays::Everything => {}
        }
    }
}

/// A name nobody has; a kept demo may have ours, from an earlier process with our number.
fn unused(base: &Path) -> PathBuf {
    let first = base.join(format!("{PREFIX}{}", std::process::id()));
    let mut path = first.clone();
    let mut number = 1_u32;
    while path.exists() {
        number += 1;
        path = base.join(format!("{PREFIX}{}-{number}", std::process::id()));
    }
    path
}

/// Removes the directories of demos whose processes have all ended, and then the logs of those that are no more.
/// Failures are the next demo's to mend.
fn remove_leftovers(base: &Layout) {
    for path in demos_in(base.root()) {
        if !path.join(KEPT).exists() && Lock::is_free(&path) {
            remove(&path);
        }
    }
    for logs in demos_in(base.logs()) {
        let demo = logs.file_name().map(|name| base.root().join(name));
        if demo.is_some_and(|demo| !demo.exists()) {
            remove(&logs);
        }
    }
}

fn demos_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_demo = |entry: &std::fs::DirEntry| {
        entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.path().is_dir()
    };
    entries.filter(is_demo).map(|entry| entry.path()).collect()
}

fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(path = %path.display(), %error, "cannot be removed yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_leaves_nothing_unless_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let base = Layout::create(dir.path()).unwrap();
        let home = Home::create(&base).unwrap();
        let root = home.layout().root().to_owned();
        assert!(root.join("tools").is_dir(), "the tools are linked");
        assert_eq!(home.leave(Stays::Nothing), None);
        assert!(!root.exists() && base.tools().exists(), "the link goes, the tools stay");

        let kept = Home::create(&base).unwrap().leave(Stays::Everything).unwrap();
        drop(Home::create(&base).unwrap());
        assert!(kept.exists(), "what is kept stays");
    }

    #[test]
    fn the_logs_of_a_demo_that_failed_stay_until_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let base = Layout::create(dir.path()).unwrap();
        let home = Home::create(&base).unwrap();
        let (root, logs) = (home.layout().root().to_owned(), home.layout().logs().to_owned());
        std::fs::create_dir_all(&logs).unwrap();
        assert_eq!(home.leave(Stays::Logs), None);
        assert!(!root.exists() && logs.exists());
        drop(Home::create(&base).unwrap());
        assert!(!logs.exists());
    }

    #[test]
    fn what_a_killed_demo_left_is_removed_and_a_running_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let base = Layout::create(dir.path()).unwrap();
        let running = Home::create(&base).unwrap();
        let dead = base.root().join("demo-1");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join("up.lock"), "1").unwrap();
        drop(Home::create(&base).unwrap());
        assert!(!dead.exists());
        assert!(running.layout().root().exists());
    }
}

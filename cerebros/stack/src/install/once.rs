//! Installs once, completely or not at all: a file lock, a temporary sibling, a marker, a rename.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::python::Python;
use super::{InstallError, Notice, Package, Tools, fetch};

/// Written last; a directory without it was not made by a finished installation.
const MARKER: &str = ".complete";
/// How often a waiting process looks whether the lock is free. Nothing in the standard library waits with a deadline.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Returns the interpreter of the environment `name`, installing it if it is not complete.
pub(super) async fn install(
    tools: &Tools,
    package: &Package,
    python: &Python,
    name: &str,
) -> Result<PathBuf, InstallError> {
    let home = tools.dir.join(name);
    let interpreter = home.join("bin").join("python");
    if is_complete(&home, &interpreter) {
        return Ok(interpreter);
    }
    make_dir(&tools.dir)?;
    let end = Instant::now() + tools.deadline;
    let _lock = lock(tools, package, name, end).await?;
    if is_complete(&home, &interpreter) {
        return Ok(interpreter);
    }
    remove_leftovers(&tools.dir, name)?;
    let started = Instant::now();
    let partial = Partial::new(&tools.dir, name);
    fetch::environment(tools, package, python, &partial.path, name, end).await?;
    write(&partial.path.join(MARKER), package.title.as_bytes())?;
    if home.exists() {
        // Complete once, but its interpreter is gone: the Python it was made with was removed.
        std::fs::remove_dir_all(&home)
            .map_err(|source| InstallError::Write { path: home.clone(), source })?;
    }
    std::fs::rename(&partial.path, &home)
        .map_err(|source| InstallError::Write { path: home.clone(), source })?;
    tools.say(&Notice::Installed { title: package.title.to_string(), took: started.elapsed() });
    Ok(interpreter)
}

/// The interpreter is a link to the Python it was made with, so it can disappear under a complete environment.
fn is_complete(home: &Path, interpreter: &Path) -> bool {
    home.join(MARKER).exists() && interpreter.exists()
}

/// A directory in the making; whatever ends the installation early also removes it.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn new(dir: &Path, name: &str) -> Self {
        Self { path: dir.join(format!(".{name}.partial-{}", std::process::id())) }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Absent after the rename. If it cannot be removed now, the next installation tries again.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes what a killed installation left. Nobody else is at it: we hold the lock.
fn remove_leftovers(dir: &Path, name: &str) -> Result<(), InstallError> {
    let failed = |path: &Path, source| InstallError::Write { path: path.to_owned(), source };
    let prefix = format!(".{name}.partial-");
    for entry in std::fs::read_dir(dir).map_err(|source| failed(dir, source))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            std::fs::remove_dir_all(entry.path()).map_err(|source| failed(&entry.path(), source))?;
        }
    }
    Ok(())
}

/// The lock belongs to the open file: the system releases it when the process ends, however it ends.
async fn lock(tools: &Tools, package: &Package, name: &str, end: Instant) -> Result<File, InstallError> {
    let path = tools.dir.join(format!(".{name}.lock"));
    let failed = |source| InstallError::Write { path: path.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    let title = || package.title.to_string();
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        if !said {
            tools.say(&Notice::Waiting { title: title(), lock: path.clone() });
            said = true;
        }
        if Instant::now() >= end {
            let (waited, log) = (tools.deadline, tools.log_of(name));
            return Err(InstallError::TooSlow {
                title: title(),
                step: "waiting for another process",
                waited,
                log,
            });
        }
        tokio::select! {
            () = tools.cancel.cancelled() => return Err(InstallError::Cancelled { title: title() }),
            () = sleep(LOCK_POLL) => {}
        }
    }
}

fn make_dir(path: &Path) -> Result<(), InstallError> {
    std::fs::create_dir_all(path).map_err(|source| InstallError::Write { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    std::fs::write(path, bytes).map_err(|source| InstallError::Write { path: path.to_owned(), source })
}

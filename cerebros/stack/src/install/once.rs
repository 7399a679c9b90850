//! Installs once, completely or not at all: a file lock, a temporary sibling, a marker, a rename.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{InstallError, Notice, Tools};

/// Written last; a directory without it was not made by a finished installation.
const MARKER: &str = ".complete";
/// How often a waiting process looks whether the lock is free. Nothing in the standard library waits with a deadline.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// What is installed once.
pub(super) struct Tool<'a> {
    /// Name of its directory.
    pub(super) name: &'a str,
    /// What a person reads.
    pub(super) title: &'a str,
    /// Something in its directory, such as a link to the Python it was made with, that can disappear under a complete
    /// installation and makes it useless.
    pub(super) vital: &'a Path,
}

/// Returns the directory of `tool`. If it is not complete, `make` fills an empty one, before the instant it is given.
pub(super) async fn install<F: Future<Output = Result<(), InstallError>>>(
    tools: &Tools,
    tool: &Tool<'_>,
    make: impl FnOnce(PathBuf, Instant) -> F,
) -> Result<PathBuf, InstallError> {
    let home = tools.dir.join(tool.name);
    if is_complete(&home, tool) {
        return Ok(home);
    }
    make_dir(&tools.dir)?;
    let end = Instant::now() + tools.deadline;
    let _lock = lock(tools, tool, end).await?;
    if is_complete(&home, tool) {
        return Ok(home);
    }
    remove_leftovers(&tools.dir, tool.name)?;
    let started = Instant::now();
    let partial = Partial::new(&tools.dir, tool.name);
    make(partial.path.clone(), end).await?;
    write(&partial.path.join(MARKER), tool.title.as_bytes())?;
    if home.exists() {
        // Complete once, but what is vital to it is gone.
        std::fs::remove_dir_all(&home)
            .map_err(|source| InstallError::Write { path: home.clone(), source })?;
    }
    std::fs::rename(&partial.path, &home)
        .map_err(|source| InstallError::Write { path: home.clone(), source })?;
    tools.say(&Notice::Installed { title: tool.title.to_owned(), took: started.elapsed() });
    Ok(home)
}

fn is_complete(home: &Path, tool: &Tool<'_>) -> bool {
    home.join(MARKER).exists() && home.join(tool.vital).exists()
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
async fn lock(tools: &Tools, tool: &Tool<'_>, end: Instant) -> Result<File, InstallError> {
    let path = tools.dir.join(format!(".{}.lock", tool.name));
    let failed = |source| InstallError::Write { path: path.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    let title = || tool.title.to_owned();
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
            let (waited, log) = (tools.deadline, tools.log_of(tool.name));
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

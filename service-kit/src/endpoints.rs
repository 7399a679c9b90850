//! Where the running local stack answers: `endpoints.json` in the data directory.
//!
//! Written whole or not at all, once everything answered its health check; believed only while the process that
//! wrote it lives. Reading never fails a command: a file that cannot be understood is as good as none.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::exit::Exit;

/// The largest file that is read: five short values.
const SIZE_LIMIT: u64 = 64 * 1024;

/// The addresses of a local stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// URL of the broker.
    pub nats: String,
    /// URL of MLflow, if it runs.
    pub mlflow: Option<String>,
    /// URL of the dashboard, if it runs.
    pub dashboard: Option<String>,
    /// The process that owns the stack.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

impl Endpoints {
    /// The file's place under `data_dir`.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("endpoints.json")
    }

    /// What the file says, whether the stack still runs or not; `None` if there is no readable file.
    pub fn read(data_dir: &Path) -> Option<Self> {
        let file = fs::File::open(Self::path(data_dir)).ok()?;
        let mut text = String::new();
        file.take(SIZE_LIMIT).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes the file; a reader sees the old or the new one, never a part.
    ///
    /// # Errors
    /// When the directory cannot be written: exit code 7.
    pub fn write(&self, data_dir: &Path) -> Result<(), CliError> {
        let path = Self::path(data_dir);
        self.replace(data_dir, &path).map_err(|error| {
            CliError::new("data-dir", Exit::LocalResource, format!("cannot write {}", path.display()))
                .because(error)
                .help("make the data directory writable, or choose another with --data-dir")
        })
    }

    fn replace(&self, data_dir: &Path, path: &Path) -> io::Result<()> {
        fs::create_dir_all(data_dir)?;
        let part = path.with_extension(format!("json.{}", std::process::id()));
        // The broker's URL may carry credentials.
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&part, path)
    }

    /// Removes the file if it is this stack's own.
    ///
    /// # Errors
    /// When the file exists and cannot be removed.
    pub fn remove(&self, data_dir: &Path) -> io::Result<()> {
        if Self::read(data_dir).is_some_and(|found| found.pid == self.pid) {
            fs::remove_file(Self::path(data_dir))?;
        }
        Ok(())
    }
}

/// The stack that runs on `data_dir`, if its owner lives.
pub fn running(data_dir: &Path) -> Option<Endpoints> {
    Endpoints::read(data_dir).filter(|endpoints| is_alive(endpoints.pid))
}

/// True if the process exists and has not ended yet.
fn is_alive(pid: u32) -> bool {
    let Some(id) = i32::try_from(pid).ok().filter(|id| *id > 0) else {
        return false;
    };
    let exists = match kill(Pid::from_raw(id), None) {
        Ok(()) => true,
        // Somebody else's process: there, but not ours to signal.
        Err(error) => error == Errno::EPERM,
    };
    exists && !is_zombie(id)
}

/// An ended process nobody reaped yet still has its number; only Linux tells.
fn is_zombie(id: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn of(pid: u32) -> Endpoints {
        let nats = "nats://127.0.0.1:4222".to_owned();
        Endpoints { nats, mlflow: None, dashboard: None, pid, version: "0.1.0".to_owned() }
    }

    #[test]
    fn a_living_stack_is_found_and_its_file_goes_with_it() {
        let data_dir = tempfile::tempdir().unwrap();
        let nested = data_dir.path().join("not/yet/there");
        let ours = of(std::process::id());
        ours.write(&nested).unwrap();
        assert_eq!(running(&nested), Some(ours.clone()));
        assert_eq!(fs::read_dir(&nested).unwrap().count(), 1, "no half-written file is left");
        of(1).remove(&nested).unwrap();
        assert!(Endpoints::path(&nested).exists(), "a stranger's file stays");
        ours.remove(&nested).unwrap();
        assert_eq!(Endpoints::read(&nested), None);
    }

    #[test]
    fn a_dead_stack_is_not_believed() {
        let data_dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        of(pid).write(data_dir.path()).unwrap();
        assert_eq!(running(data_dir.path()), None);
        assert_eq!(Endpoints::read(data_dir.path()), Some(of(pid)));
    }

    #[test]
    fn nonsense_is_as_good_as_no_file() {
        let data_dir = tempfile::tempdir().unwrap();
        for text in ["", "{", "{\"pid\": -1}", "[]"] {
            fs::write(Endpoints::path(data_dir.path()), text).unwrap();
            assert_eq!(running(data_dir.path()), None, "{text}");
        }
        of(0).write(data_dir.path()).unwrap();
        assert_eq!(running(data_dir.path()), None, "process 0 is a group, not a process");
    }
}

//! One stack per data directory: a file lock that outlives its owner for as long as anything of its stack lives.
//!
//! The lock belongs to an open file, and every process of the stack inherits that file. After `kill -9` of the owner
//! its children need up to five seconds to end, and the lock is free exactly when the last of them has: the next
//! stack finds its ports and its store free, without guessing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use service_kit::endpoints::{self, Endpoints};
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::note;
use tokio::time::{Instant, sleep};

use super::layout::{LOCK, Layout, unwritable};

/// How often it is looked whether the other stack is ready or gone. Nothing in the standard library waits with a
/// deadline.
const POLL: Duration = Duration::from_millis(50);
/// Waits shorter than this are nobody's business.
const SILENCE: Duration = Duration::from_millis(300);
/// How long another process may take to start: it may be installing everything first.
const START_DEADLINE: Duration = Duration::from_secs(20 * 60);
/// How long the rest of a killed stack may take to end: its guards give it five seconds.
const REST_DEADLINE: Duration = Duration::from_secs(15);
/// The inherited copy gets a number from here on; the guards of the children use the small ones themselves.
const INHERITED_FROM: i32 = 20;

/// The lock, held until this process and everything it starts from now on has ended.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// The lock of a directory that was made just now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn of_a_new(layout: &Layout) -> Result<Self, CliError> {
        let path = layout.lock();
        let file = open(&path)?;
        file.try_lock().map_err(|error| unwritable(&path, &error.into()))?;
        own(file, &path)
    }

    /// True if there is a lock in `data_dir` and nobody holds it.
    pub(crate) fn is_free(data_dir: &Path) -> bool {
        File::open(data_dir.join(LOCK)).is_ok_and(|file| file.try_lock().is_ok())
    }
}

/// Who has the data directory.
#[derive(Debug)]
pub(crate) enum Claim {
    /// We have it.
    Ours(Lock),
    /// A stack runs on it.
    Runs(Endpoints),
}

/// Takes the data directory, or finds the stack that runs on it. Waits for one that is starting or ending.
///
/// # Errors
/// When the lock cannot be written, or the wait was in vain: exit code 7.
pub(crate) async fn claim(layout: &Layout) -> Result<Claim, CliError> {
    let path = layout.lock();
    let mut file = open(&path)?;
    let mut seen: Option<(Owner, Instant)> = None;
    let mut is_said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return own(file, &path).map(Claim::Ours),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
        }
        if let Some(endpoints) = endpoints::running(layout.root()) {
            return Ok(Claim::Runs(endpoints));
        }
        let owner = owner(&mut file);
        let since = match seen {
            Some((known, since)) if known == owner => since,
            Some(_) | None => {
                is_said = false;
                Instant::now()
            }
        };
        seen = Some((owner, since));
        if since.elapsed() >= owner.patience() {
            return Err(owner.in_vain(&path));
        }
        if since.elapsed() >= SILENCE && !is_said {
            note(owner.waiting(layout.root()));
            is_said = true;
        }
        sleep(POLL).await;
    }
}

/// Who holds the lock, as far as one can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It is starting its stack.
    Starting(u32),
    /// It is gone; what is left of its stack is ending.
    Gone,
}

impl Owner {
    fn patience(self) -> Duration {
        match self {
            Self::Starting(_) => START_DEADLINE,
            Self::Gone => REST_DEADLINE,
        }
    }

    fn waiting(self, data_dir: &Path) -> String {
        let data_dir = data_dir.display();
        match self {
            Self::Starting(pid) => {
                format!("waiting for process {pid}, which is starting or stopping a stack in {data_dir}")
            }
            Self::Gone => format!("waiting for the rest of an earlier stack in {data_dir} to end"),
        }
    }

    fn in_vain(self, lock: &Path) -> CliError {
        let what = match self {
            Self::Starting(pid) => {
                format!("process {pid} has the data directory and its stack does not get ready")
            }
            Self::Gone => "something of an earlier stack still has the data directory".to_owned(),
        };
        CliError::new("data-dir-busy", Exit::LocalResource, what)
            .because(format!("{} is locked", lock.display()))
            .help(format!(
                "end what holds it (`fuser {}` lists it), or choose another with --data-dir",
                lock.display()
            ))
    }
}

fn open(path: &Path) -> Result<File, CliError> {
    let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    opened.map_err(|error| unwritable(path, &error))
}

/// Writes down who has the lock and hands a copy to everything that will be started.
fn own(mut file: File, path: &Path) -> Result<Lock, CliError> {
    let refused = |error| unwritable(path, &error);
    file.set_len(0).and_then(|()| file.rewind()).map_err(refused)?;
    writeln!(file, "{}", std::process::id()).map_err(refused)?;
    // Never closed: the number lives as long as this process.
    fcntl(&file, FcntlArg::F_DUPFD(INHERITED_FROM)).map_err(|errno| unwritable(path, &errno.into()))?;
    Ok(Lock { _file: file })
}

fn owner(file: &mut File) -> Owner {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text));
    match read.ok().and_then(|_| text.trim().parse().ok()) {
        Some(pid) if local_stack::process::is_alive(pid) => Owner::Starting(pid),
        Some(_) | None => Owner::Gone,
    }
}

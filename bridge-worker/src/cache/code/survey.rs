//! Which files lie below some directories, and in which version each.
//!
//! Names and times alone, no content: what this costs is one system call a file. Links are followed, because imports
//! follow them; what is no regular file has no content that could be told.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Unknown;

/// Files that are told apart; nobody writes more by hand.
const MAX_FILES: usize = 5_000;
/// Entries that are looked at, and directories below one another.
const MAX_VISITED: usize = 50_000;
const MAX_DEPTH: usize = 32;
/// Directories whose content is made from other files, or is no code: bytecode, and what version control keeps.
const PASSED_OVER: [&str; 4] = ["__pycache__", ".git", ".hg", ".svn"];
/// Files that say that their directory is an environment, or somebody's cache.
const MARKS: [&str; 2] = ["pyvenv.cfg", "CACHEDIR.TAG"];

/// Which file something is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(facts: &Metadata) -> Self {
        Self { device: facts.dev(), inode: facts.ino() }
    }
}

/// One version of a file. Its time of change is set by the system alone: no editor puts it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) identity: Identity,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    pub(super) fn of(facts: &Metadata) -> Self {
        Self {
            identity: Identity::of(facts),
            bytes: facts.size(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        }
    }

    /// Seconds and nanoseconds since the epoch.
    pub(super) fn changed(&self) -> (i64, i64) {
        self.changed
    }
}

/// A file by the name it is imported under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) path: PathBuf,
    pub(super) version: Version,
}

/// The files below these directories, those of a directory in the order of their names; `own` is not looked into.
pub(super) fn survey(directories: &[PathBuf], own: &[PathBuf]) -> Result<Vec<Seen>, Unknown> {
    let own = own.iter().filter_map(|path| std::fs::metadata(path).ok());
    let own = own.map(|facts| Identity::of(&facts)).collect();
    let mut survey = Survey { own, visited: 0, above: Vec::new(), files: Vec::new() };
    for directory in directories {
        match std::fs::metadata(directory) {
            Ok(facts) => survey.enter(directory, &facts)?,
            // A directory that is not there has no code.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(directory, &error)),
        }
    }
    if survey.files.is_empty() { Err(Unknown::Nothing) } else { Ok(survey.files) }
}

struct Survey {
    own: Vec<Identity>,
    visited: usize,
    /// Directories one is in: one that is met again below itself has nothing new.
    above: Vec<Identity>,
    files: Vec<Seen>,
}

impl Survey {
    fn look(&mut self, path: PathBuf) -> Result<(), Unknown> {
        let facts = match std::fs::metadata(&path) {
            Ok(facts) => facts,
            // A link to nothing, or a file that went meanwhile: it has no content.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A link to itself, likewise.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => return Ok(()),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let is_passed_over = facts.is_dir()
            && (path.file_name().is_some_and(|name| PASSED_OVER.iter().any(|other| name == *other))
                || self.own.contains(&Identity::of(&facts))
                || MARKS.iter().any(|mark| path.join(mark).exists()));
        if is_passed_over { Ok(()) } else { self.enter(&path, &facts) }
    }

    fn enter(&mut self, path: &Path, facts: &Metadata) -> Result<(), Unknown> {
        let identity = Identity::of(facts);
        if facts.is_file() {
            if self.files.len() == MAX_FILES {
                return Err(Unknown::TooMany { files: MAX_FILES });
            }
            self.files.push(Seen { path: path.to_owned(), version: Version::of(facts) });
        }
        if !facts.is_dir() || self.above.contains(&identity) {
            return Ok(());
        }
        if self.above.len() == MAX_DEPTH {
            return Err(Unknown::TooDeep { path: path.to_owned() });
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
            paths.push(entry.map_err(|error| unreadable(path, &error))?.path());
            self.visited += 1;
            if self.visited > MAX_VISITED {
                return Err(Unknown::TooMany { files: MAX_FILES });
            }
        }
        paths.sort_unstable();
        self.above.push(identity);
        paths.into_iter().try_for_each(|path| self.look(path))?;
        self.above.pop();
        Ok(())
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Unknown {
    Unknown::Unreadable { path: path.to_owned(), reason: error.to_string() }
}

//! What code trainers are imported from, and whether it still is what it was.
//!
//! Children import whenever they are started, and keep what they have imported. So the files are looked at before the
//! first child is started, their content is hashed once, and whatever changes afterwards ends it: some children may run
//! the one version and some the other, until the worker is started again. Packages of the interpreter's own environment
//! are not looked at: whoever changes them wipes the cache, or does without.

mod survey;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;
use sha2::{Digest as _, Sha256};

use survey::{Identity, Seen, Version, survey};

/// Bytes of code that are read; nobody writes more by hand.
const MAX_BYTES: u64 = 64 << 20;
/// The clocks of file systems tick as seldom as this: what is changed twice within may look unchanged.
const COARSEST_TICK: Duration = Duration::from_millis(50);

/// Why it is not known what code trainers are imported from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Unknown {
    #[error("no directory given by --repo has a file in it")]
    Nothing,
    #[error("more lies below --repo than is looked at, {files} files")]
    TooMany { files: usize },
    #[error("{} lies too deep below --repo", path.display())]
    TooDeep { path: PathBuf },
    #[error("the files below --repo have more than {bytes} bytes")]
    TooLarge { bytes: u64 },
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{} has changed since the worker started; start it again to have results kept", path.display())]
    Changed { path: PathBuf },
}

/// The code below `--repo` as it was when this was made.
#[derive(Debug)]
pub struct Code {
    directories: Vec<PathBuf>,
    own: Vec<PathBuf>,
    seen: Result<Vec<Seen>, Unknown>,
}

impl Code {
    /// Looks at what lies below `directories`, but for the directories the worker itself writes in, its `own`. Has to be
    /// done before the first child is started.
    pub fn look(directories: &[PathBuf], own: &[PathBuf]) -> Self {
        let mut seen = survey(directories, own);
        if seen.as_ref().is_ok_and(|files| files.iter().any(|file| is_fresh(&file.version))) {
            std::thread::sleep(COARSEST_TICK);
            seen = survey(directories, own);
        }
        Self { directories: directories.to_owned(), own: own.to_owned(), seen }
    }

    /// Hex SHA-256 of the files, their names and the order of the directories, which is the order of imports.
    ///
    /// # Errors
    /// See [`Unknown`]; a file that has changed meanwhile is one reason.
    pub fn hash(&self) -> Result<String, Unknown> {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| digest.update(Sha256::digest(bytes));
        for directory in &self.directories {
            part(directory.as_os_str().as_encoded_bytes());
        }
        let mut left = MAX_BYTES;
        for file in self.seen.as_ref().map_err(Clone::clone)? {
            let content = read(file, left)?;
            left = left.saturating_sub(u64::try_from(content.len()).unwrap_or(u64::MAX));
            part(file.path.as_os_str().as_encoded_bytes());
            part(&content);
        }
        self.change().map_or(Ok(()), Err)?;
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Why the code is not known any more; none while every file is the one that was seen. Reads no content.
    pub fn change(&self) -> Option<Unknown> {
        let before = match &self.seen {
            Ok(before) => before,
            Err(unknown) => return Some(unknown.clone()),
        };
        let now = match survey(&self.directories, &self.own) {
            Ok(now) => now,
            Err(unknown) => return Some(unknown),
        };
        let differs = before.iter().zip(&now).find(|(before, now)| before != now);
        let (one, other) = match differs {
            Some((before, now)) => (Some(before), Some(now)),
            None => (before.get(now.len()), now.get(before.len())),
        };
        // Of a file that came or went only the smaller name is the one that differs; the other moved up.
        let differing = one.into_iter().chain(other).min_by_key(|file| &file.path)?;
        Some(Unknown::Changed { path: differing.path.clone() })
    }

    /// True when this is one of the files, under whatever name.
    pub fn holds(&self, file: &Path) -> bool {
        let (Ok(seen), Ok(facts)) = (&self.seen, std::fs::metadata(file)) else { return false };
        let wanted = Identity::of(&facts);
        seen.iter().any(|file| file.version.identity == wanted)
    }
}

/// True for a file that was changed so lately that another change may leave no trace.
fn is_fresh(version: &Version) -> bool {
    let (seconds, nanoseconds) = version.changed();
    let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds)) else {
        return false;
    };
    let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    // One from the future was set by some other clock; waiting would not help.
    changed.elapsed().is_ok_and(|age| age < COARSEST_TICK)
}

/// The content of the file that was seen, if it has no more bytes than this. Whatever else has its name by now, a pipe
/// that nobody writes into included, is not waited for.
fn read(file: &Seen, limit: u64) -> Result<Vec<u8>, Unknown> {
    let unreadable =
        |error: std::io::Error| Unknown::Unreadable { path: file.path.clone(), reason: error.to_string() };
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let open = File::options().read(true).custom_flags(flags).open(&file.path).map_err(unreadable)?;
    let facts = open.metadata().map_err(unreadable)?;
    if !facts.is_file() || Version::of(&facts) != file.version {
        return Err(Unknown::Changed { path: file.path.clone() });
    }
    if facts.len() > limit {
        return Err(Unknown::TooLarge { bytes: MAX_BYTES });
    }
    let mut content = Vec::new();
    open.take(limit).read_to_end(&mut content).map_err(unreadable)?;
    Ok(content)
}

#[cfg(test)]
mod tests;

//! SHA-256 of files, computed once per version of a file.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::fcntl::OFlag;
use sha2::{Digest as _, Sha256};

use super::MAX_BYTES;

/// Files whose hash is remembered; a worker trains on a few at a time.
const MAX_KNOWN: usize = 64;

/// File systems take their times from a clock that moves every few milliseconds.
const TICK_MICROS: i64 = 100_000;

/// What is different when somebody has written to a file. The time of a change of the inode is in it, because it
/// cannot be set back as the time of the content can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(facts: &Metadata) -> Self {
        Self {
            device: facts.dev(),
            inode: facts.ino(),
            bytes: facts.len(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        }
    }
}

impl Version {
    /// True when the file was changed so shortly before `now_micros` that the next change may bear the same time.
    fn is_fresh(&self, now_micros: i64) -> bool {
        let (seconds, nanos) = self.changed;
        now_micros - (seconds.saturating_mul(1_000_000) + nanos / 1000) < TICK_MICROS
    }
}

/// Hashes that are known.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    known: Mutex<BTreeMap<PathBuf, (Version, String)>>,
}

impl Hashes {
    /// Hex SHA-256 of a file's content.
    pub(super) async fn sha256(&self, path: &Path) -> io::Result<String> {
        let version = Version::of(&std::fs::metadata(path)?);
        if let Some(known) = self.known().get(path).filter(|known| known.0 == version) {
            return Ok(known.1.clone());
        }
        let file = path.to_owned();
        let hashed = tokio::task::spawn_blocking(move || hash(&file)).await.map_err(io::Error::other)?;
        let (version, sha256) = hashed?;
        if version.is_fresh(service_kit::clock::now().micros()) {
            return Ok(sha256);
        }
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.pop_first();
        }
        known.insert(path.to_owned(), (version, sha256.clone()));
        Ok(sha256)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, (Version, String)>> {
        self.known.lock().expect("nobody panics while holding the hashes")
    }
}

/// The version is that from before the first byte was read: what is written meanwhile makes another.
fn hash(path: &Path) -> io::Result<(Version, String)> {
    // Whatever took its place since it was looked at, a named pipe for one, is not waited for.
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let version = Version::of(&facts);
    let mut digest = Sha256::new();
    if io::copy(&mut file.take(MAX_BYTES + 1), &mut digest)? > MAX_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok((version, hex(&digest.finalize())))
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_written_is_hashed_again() {
        let scratch = testkit::Scratch::new();
        let file = scratch.join("data.csv");
        std::fs::write(&file, "1").unwrap();
        let version = Version::of(&std::fs::metadata(&file).unwrap());
        let changed = version.changed.0 * 1_000_000 + version.changed.1 / 1000;
        assert!(version.is_fresh(changed) && version.is_fresh(changed + TICK_MICROS - 1));
        assert!(!version.is_fresh(changed + TICK_MICROS));
    }

    #[test]
    fn a_named_pipe_is_not_waited_for() {
        let scratch = testkit::Scratch::new();
        let pipe = scratch.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(hash(&pipe).unwrap_err().to_string().contains("regular"));
    }
}

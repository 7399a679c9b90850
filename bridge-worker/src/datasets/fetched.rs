//! Files of the artefact store, fetched once each into a directory of the worker's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, ObjectInfo, ObjectStore};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use schemas::RunId;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::hash::hex;
use super::{MAX_BYTES, NotLocated, refused};
use crate::artifacts::Artifacts;

/// Bytes of all fetched files together. Those nobody trains on make room for the next.
const MAX_TOTAL_BYTES: u64 = 4 * MAX_BYTES;
/// Deadline of a question and of a download; the run waits for it.
const INFO_LIMIT: Duration = Duration::from_secs(10);
const FETCH_LIMIT: Duration = Duration::from_secs(300);
const BLOCK_BYTES: usize = 256 * 1024;

/// Ends the name of a file that is not complete.
const PARTIAL: &str = "partial";

/// Somebody trains on a fetched file, or waits for it, while this lives.
#[derive(Debug)]
pub(super) struct Hold;

#[derive(Debug)]
struct Kept {
    /// Room that is taken, or will be when it is there.
    bytes: u64,
    hold: Weak<Hold>,
    /// Held during a download: two runs that want the same file fetch it once.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The fetched files.
#[derive(Debug)]
pub(super) struct Fetched {
    directory: PathBuf,
    kept: Mutex<BTreeMap<PathBuf, Kept>>,
}

impl Fetched {
    /// Files in `directory`, which nobody else writes to and which goes with the worker. What another of the same name
    /// has left there is removed.
    pub(super) fn under(directory: PathBuf) -> Self {
        match std::fs::remove_dir_all(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %directory.display(), %error, "data sets fetched earlier were not removed");
            }
        }
        Self { directory, kept: Mutex::default() }
    }

    /// Where the object lies now, the SHA-256 of its content, and what keeps it there. Dropped in the middle of a
    /// download, nothing of it stays.
    pub(super) async fn get(
        &self,
        artifacts: &Artifacts,
        object: &str,
    ) -> Result<(PathBuf, String, Arc<Hold>), NotLocated> {
        let Some(store) = artifacts.store() else {
            let reason =
                format!("data set \"artifact:{object}\" lies in the artefact store, which needs a broker");
            return Err(refused(reason));
        };
        let asked = tokio::time::timeout(INFO_LIMIT, store.info(object)).await;
        let info = match asked {
            Ok(Ok(info)) => info,
            Ok(Err(error))
                if matches!(error.kind(), InfoErrorKind::NotFound | InfoErrorKind::InvalidName) =>
            {
                return Err(missing(artifacts, object).await);
            }
            Ok(Err(error)) => return Err(silent(&error)),
            Err(_) => return Err(silent(&"no answer")),
        };
        let sha256 = sha256_of(&info, object)?;
        let path = self.directory.join(format!("{sha256}.{}", extension(object)));
        let bytes = bytes_of(&info);
        let (hold, turn) = self.reserve(&path, bytes)?;
        let _turn = turn.lock().await;
        if !path.exists() {
            let wanted = Wanted { object, sha256: &sha256, bytes };
            let fetched = tokio::time::timeout(FETCH_LIMIT, fetch(store, wanted, &path)).await;
            fetched.unwrap_or_else(|_| Err(silent(&"it takes too long")))?;
        }
        Ok((path, sha256, hold))
    }

    /// Takes room for a file, and a part in it. The room of one that never comes is free again when nobody waits for it.
    fn reserve(
        &self,
        path: &Path,
        bytes: u64,
    ) -> Result<(Arc<Hold>, Arc<tokio::sync::Mutex<()>>), NotLocated> {
        let mut kept = self.kept.lock().expect("nobody panics while holding the fetched files");
        if !kept.contains_key(path) {
            make_room(&mut kept, bytes)?;
        }
        let file = kept.entry(path.to_owned()).or_insert_with(|| Kept {
            bytes,
            hold: Weak::new(),
            turn: Arc::default(),
        });
        let hold = file.hold.upgrade().unwrap_or_else(|| Arc::new(Hold));
        file.hold = Arc::downgrade(&hold);
        Ok((hold, file.turn.clone()))
    }
}

/// Removes files nobody trains on until there is room for `bytes` more.
fn make_room(kept: &mut BTreeMap<PathBuf, Kept>, bytes: u64) -> Result<(), NotLocated> {
    for path in surplus(kept, bytes) {
        remove(&path);
        kept.remove(&path);
    }
    let total: u64 = kept.values().map(|file| file.bytes).sum();
    if total.saturating_add(bytes) > MAX_TOTAL_BYTES {
        return Err(NotLocated::Unavailable("other runs' data sets take all the room there is".to_owned()));
    }
    Ok(())
}

/// One that never came is no error.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a fetched data set was not removed");
    }
}

fn surplus(kept: &BTreeMap<PathBuf, Kept>, bytes: u64) -> Vec<PathBuf> {
    let mut total: u64 = kept.values().map(|file| file.bytes).sum::<u64>().saturating_add(bytes);
    let mut surplus = Vec::new();
    for (path, file) in kept.iter().filter(|(_, file)| file.hold.strong_count() == 0) {
        if total <= MAX_TOTAL_BYTES {
            break;
        }
        total -= file.bytes;
        surplus.push(path.clone());
    }
    surplus
}

/// What the store says of an object.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    object: &'a str,
    sha256: &'a str,
    bytes: u64,
}

/// A file under way, removed unless it was given its name.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

async fn fetch(store: &ObjectStore, wanted: Wanted<'_>, path: &Path) -> Result<(), NotLocated> {
    let object = wanted.object;
    // The same content may be stored as two types.
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let partial = Partial(path.with_extension(format!("{extension}.{PARTIAL}")));
    let unwritable =
        |error: std::io::Error| NotLocated::Unavailable(format!("{}: {error}", partial.0.display()));
    let mut source = store.get(object).await.map_err(|error| match error.kind() {
        GetErrorKind::NotFound | GetErrorKind::InvalidName | GetErrorKind::BucketLink => {
            refused(format!("data set \"artifact:{object}\" was removed meanwhile"))
        }
        GetErrorKind::ConsumerCreate | GetErrorKind::Other | GetErrorKind::TimedOut => silent(&error),
    })?;
    if let Some(directory) = path.parent() {
        tokio::fs::create_dir_all(directory).await.map_err(unwritable)?;
    }
    let mut file = tokio::fs::File::create(&partial.0).await.map_err(unwritable)?;
    let mut digest = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut total = 0_u64;
    loop {
        let read = source.read(&mut block).await.map_err(|error| silent(&error))?;
        if read == 0 {
            break;
        }
        total = total.saturating_add(read as u64);
        if total > wanted.bytes {
            return Err(refused(format!(
                "\"artifact:{object}\" has more than the {} bytes the store says it has; put it there again",
                wanted.bytes
            )));
        }
        digest.update(&block[..read]);
        file.write_all(&block[..read]).await.map_err(unwritable)?;
    }
    file.flush().await.map_err(unwritable)?;
    if hex(&digest.finalize()) != wanted.sha256 {
        return Err(silent(&"it was replaced while it was read"));
    }
    tokio::fs::rename(&partial.0, path).await.map_err(unwritable)
}

fn sha256_of(info: &ObjectInfo, object: &str) -> Result<String, NotLocated> {
    let bytes = bytes_of(info);
    if bytes > MAX_BYTES {
        let reason = format!("data set \"artifact:{object}\" has {bytes} bytes; the limit is {MAX_BYTES}");
        return Err(refused(reason));
    }
    let digest = info.digest.as_deref().and_then(|digest| digest.strip_prefix("SHA-256="));
    let digest = digest.and_then(|digest| BASE64_URL_SAFE.decode(digest).ok());
    digest.map(|digest| hex(&digest)).ok_or_else(|| {
        refused(format!(
            "\"artifact:{object}\" has no SHA-256 in the store; put the file itself there, not a link"
        ))
    })
}

fn bytes_of(info: &ObjectInfo) -> u64 {
    u64::try_from(info.size).unwrap_or(u64::MAX)
}

fn extension(object: &str) -> String {
    Path::new(object).extension().map(|kind| kind.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn silent(reason: &dyn std::fmt::Display) -> NotLocated {
    NotLocated::Unavailable(format!("the artefact store does not hand over the data set: {reason}"))
}

/// Nothing under this name; the run's own files say what was probably meant.
async fn missing(artifacts: &Artifacts, object: &str) -> NotLocated {
    let run = object.split('/').next().and_then(|run| RunId::parse(run).ok());
    let names = match &run {
        Some(run) => artifacts.names_of(run).await,
        None => Vec::new(),
    };
    let there = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    refused(format!("there is no \"artifact:{object}\" in the artefact store: of that run there is {there}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_of_files_nobody_trains_on() {
        let hold = Arc::new(Hold);
        let kept = |bytes, hold| Kept { bytes, hold, turn: Arc::default() };
        let files = BTreeMap::from([
            (PathBuf::from("a"), kept(MAX_BYTES, Weak::new())),
            (PathBuf::from("b"), kept(2 * MAX_BYTES, Arc::downgrade(&hold))),
            (PathBuf::from("c"), kept(MAX_BYTES, Weak::new())),
        ]);
        assert!(surplus(&files, 0).is_empty());
        assert_eq!(surplus(&files, 1), [PathBuf::from("a")]);
        assert_eq!(surplus(&files, 2 * MAX_BYTES), [PathBuf::from("a"), PathBuf::from("c")]);
        assert_eq!(surplus(&files, 4 * MAX_BYTES).len(), 2, "a file in use stays");
    }

    #[test]
    fn what_another_worker_of_that_name_has_left_is_removed() {
        let scratch = testkit::Scratch::new();
        let directory = scratch.join("fetched");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("a.partial"), "half").unwrap();
        let _fetched = Fetched::under(directory.clone());
        assert!(!directory.exists());
    }

    #[test]
    fn the_room_of_a_file_that_never_came_is_free_again() {
        let scratch = testkit::Scratch::new();
        let fetched = Fetched::under(scratch.join("fetched"));
        let path = |name: &str| scratch.join("fetched").join(name);
        let reserved = fetched.reserve(&path("a"), MAX_TOTAL_BYTES).unwrap();
        assert!(fetched.reserve(&path("a"), MAX_TOTAL_BYTES).is_ok(), "the same file takes no more room");
        assert!(fetched.reserve(&path("b"), 1).is_err());
        drop(reserved);
        assert!(fetched.reserve(&path("b"), 1).is_ok());
    }
}

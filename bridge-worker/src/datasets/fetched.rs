//! Files of the artefact store, fetched once each into a directory of the worker's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, ObjectInfo, ObjectStore};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use schemas::RunId;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::hash::hex;
use super::{MAX_BYTES, NotLocated, refused};
use crate::artifacts::Artifacts;

/// Bytes of all fetched files together. Those nobody trains on make room for the next.
const MAX_TOTAL_BYTES: u64 = 4 * MAX_BYTES;
/// Deadline of a question and of a download; the run waits for it.
const INFO_LIMIT: Duration = Duration::from_secs(10);
const FETCH_LIMIT: Duration = Duration::from_secs(300);
const BLOCK_BYTES: usize = 256 * 1024;

/// Somebody trains on a fetched file while this lives.
#[derive(Debug)]
pub(super) struct Hold;

#[derive(Debug)]
struct Kept {
    bytes: u64,
    hold: Weak<Hold>,
}

/// The fetched files.
#[derive(Debug)]
pub(super) struct Fetched {
    directory: PathBuf,
    // Held during a download: two runs that want the same file fetch it once.
    kept: Mutex<BTreeMap<PathBuf, Kept>>,
}

impl Fetched {
    /// Files in `directory`, which nobody else writes to and which goes with the worker.
    pub(super) fn under(directory: PathBuf) -> Self {
        Self { directory, kept: Mutex::default() }
    }

    /// Where the object lies now, the SHA-256 of its content, and what keeps it there.
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
        let mut kept = self.kept.lock().await;
        let hold = kept.get(&path).map(|file| file.hold.upgrade().unwrap_or_else(|| Arc::new(Hold)));
        let hold = match hold {
            Some(hold) if path.exists() => hold,
            Some(_) | None => {
                make_room(&mut kept, bytes_of(&info)).await?;
                let fetch = fetch(store, object, &sha256, &path);
                tokio::time::timeout(FETCH_LIMIT, fetch)
                    .await
                    .unwrap_or_else(|_| Err(silent(&"it takes too long")))?;
                Arc::new(Hold)
            }
        };
        kept.insert(path.clone(), Kept { bytes: bytes_of(&info), hold: Arc::downgrade(&hold) });
        Ok((path, sha256, hold))
    }
}

/// Removes files nobody trains on until there is room for `bytes` more.
async fn make_room(kept: &mut BTreeMap<PathBuf, Kept>, bytes: u64) -> Result<(), NotLocated> {
    for path in surplus(kept, bytes) {
        if let Err(error) = tokio::fs::remove_file(&path).await {
            tracing::warn!(path = %path.display(), %error, "a fetched data set was not removed");
        }
        kept.remove(&path);
    }
    let total: u64 = kept.values().map(|file| file.bytes).sum();
    if total.saturating_add(bytes) > MAX_TOTAL_BYTES {
        return Err(NotLocated::Unavailable("other runs' data sets take all the room there is".to_owned()));
    }
    Ok(())
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

async fn fetch(store: &ObjectStore, object: &str, sha256: &str, path: &Path) -> Result<(), NotLocated> {
    let partial = path.with_extension("partial");
    let unwritable =
        |error: std::io::Error| NotLocated::Unavailable(format!("{}: {error}", partial.display()));
    let mut source = store.get(object).await.map_err(|error| match error.kind() {
        GetErrorKind::NotFound | GetErrorKind::InvalidName | GetErrorKind::BucketLink => {
            refused(format!("data set \"artifact:{object}\" was removed meanwhile"))
        }
        GetErrorKind::ConsumerCreate | GetErrorKind::Other | GetErrorKind::TimedOut => silent(&error),
    })?;
    if let Some(directory) = path.parent() {
        tokio::fs::create_dir_all(directory).await.map_err(unwritable)?;
    }
    let mut file = tokio::fs::File::create(&partial).await.map_err(unwritable)?;
    let mut digest = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = source.read(&mut block).await.map_err(|error| silent(&error))?;
        if read == 0 {
            break;
        }
        digest.update(&block[..read]);
        file.write_all(&block[..read]).await.map_err(unwritable)?;
    }
    file.flush().await.map_err(unwritable)?;
    if hex(&digest.finalize()) != sha256 {
        return Err(silent(&"it was replaced while it was read"));
    }
    tokio::fs::rename(&partial, path).await.map_err(unwritable)
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
        let kept = |bytes, hold| Kept { bytes, hold };
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
}

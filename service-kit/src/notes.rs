//! Notes of a service in a bucket of the broker: small JSON records, changed by compare-and-set only, so that of several
//! that change one at once exactly one succeeds.

use async_nats::jetstream::kv;
use futures_util::TryStreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::Broker;

/// The notes could not be read or changed; the broker is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bucket {bucket} is not available: {reason}")]
pub struct NotesError {
    bucket: String,
    reason: String,
}

/// The notes of one bucket.
#[derive(Debug, Clone)]
pub struct Notes {
    bucket: kv::Store,
}

impl Notes {
    /// Opens a bucket; [`crate::topology::ensure`] has created it.
    pub async fn open(broker: &Broker, bucket: &str) -> Result<Self, NotesError> {
        let opened = broker.jetstream.get_key_value(bucket).await;
        let bucket =
            opened.map_err(|error| NotesError { bucket: bucket.to_owned(), reason: error.to_string() })?;
        Ok(Self { bucket })
    }

    /// A note and its revision; revision 0 is that of a note that is not there. One that cannot be read, written by another
    /// version, counts as absent and keeps its revision.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<(Option<T>, u64), NotesError> {
        let entry = self.bucket.entry(key).await.map_err(|error| self.unavailable(error))?;
        let Some(entry) = entry else { return Ok((None, 0)) };
        if entry.operation != kv::Operation::Put {
            return Ok((None, entry.revision));
        }
        let note = serde_json::from_slice(&entry.value);
        if let Err(error) = &note {
            tracing::warn!(key, %error, "a note cannot be read and is written anew");
        }
        Ok((note.ok(), entry.revision))
    }

    /// Writes a note over the revision it was read at; the new revision, or `None` when somebody else was faster.
    pub async fn put(&self, key: &str, note: &impl Serialize, over: u64) -> Result<Option<u64>, NotesError> {
        let value = serde_json::to_vec(note).expect("a note is plain data").into();
        match self.bucket.update(key, value, over).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(self.unavailable(error)),
        }
    }

    /// Deletes a note.
    pub async fn delete(&self, key: &str) -> Result<(), NotesError> {
        self.bucket.delete(key).await.map_err(|error| self.unavailable(error))
    }

    /// The keys that begin like this.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, NotesError> {
        let keys = self.bucket.keys().await.map_err(|error| self.unavailable(error))?;
        let keys: Vec<String> = keys.try_collect().await.map_err(|error| self.unavailable(error))?;
        Ok(keys.into_iter().filter(|key| key.starts_with(prefix)).collect())
    }

    fn unavailable(&self, reason: impl std::fmt::Display) -> NotesError {
        NotesError { bucket: self.bucket.name.clone(), reason: reason.to_string() }
    }
}

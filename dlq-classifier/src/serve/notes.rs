//! What the classifiers remember between two looks, in buckets of the dead-letter queue, shared by all of them.
//!
//! Every note is changed by compare-and-set: whoever loses has looked at something somebody else has dealt with, and
//! looks again.

use async_nats::jetstream::kv;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_kit::broker::Broker;

/// The notes.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    bucket: kv::Store,
}

/// A note as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Note<T> {
    /// What it says; `None` when there is none that can be read.
    pub(crate) said: Option<T>,
    /// The revision it was read at.
    pub(crate) revision: Option<u64>,
}

impl Notes {
    pub(crate) async fn open(broker: &Broker, bucket: &str) -> Result<Self, String> {
        let bucket = broker.jetstream.get_key_value(bucket).await.map_err(|error| error.to_string())?;
        Ok(Self { bucket })
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Note<T>, String> {
        let entry = self.bucket.entry(key).await.map_err(|error| error.to_string())?;
        let entry = entry.filter(|entry| entry.operation == kv::Operation::Put);
        let said = entry.as_ref().and_then(|entry| {
            serde_json::from_slice(&entry.value)
                .inspect_err(
                    |error| tracing::warn!(key, %error, "a note cannot be read and counts as absent"),
                )
                .ok()
        });
        Ok(Note { said, revision: entry.map(|entry| entry.revision) })
    }

    /// Writes what a note is to say now; `None` when somebody else has changed it since it was read, else its revision.
    pub(crate) async fn write<T: Serialize, S>(
        &self,
        key: &str,
        was: &Note<S>,
        says: &T,
    ) -> Result<Option<u64>, String> {
        let value = serde_json::to_vec(says).map_err(|error| error.to_string())?.into();
        let written =
            match was.revision {
                Some(revision) => self.bucket.update(key, value, revision).await.map_err(|error| {
                    (error.kind() == kv::UpdateErrorKind::WrongLastRevision, error.to_string())
                }),
                None => {
                    self.bucket.create(key, value).await.map_err(|error| {
                        (error.kind() == kv::CreateErrorKind::AlreadyExists, error.to_string())
                    })
                }
            };
        match written {
            Ok(revision) => Ok(Some(revision)),
            Err((true, _)) => Ok(None),
            Err((false, reason)) => Err(reason),
        }
    }
}

/// The key of a note about something with a name: whatever a key cannot hold is written in hex.
pub(crate) fn key(kind: &str, name: &str) -> String {
    use std::fmt::Write as _;
    let mut key = format!("{kind}.");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            key.push(char::from(byte));
        } else {
            let _ = write!(key, "={byte:02x}");
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_any_name_and_two_names_have_two_keys() {
        assert_eq!(key("sweep", "bridge-worker"), "sweep.bridge-worker");
        assert_eq!(key("sweep", "größe.1"), "sweep.gr=c3=b6=c3=9fe=2e1");
        assert_ne!(key("sweep", "a=2e"), key("sweep", "a."));
    }
}

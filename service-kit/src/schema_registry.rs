//! The registry of schemas in the broker: fingerprint to text, record to the fingerprints of its versions.
//!
//! Every service puts in what it was made with at its start, so that whoever meets an unknown fingerprint can look it
//! up, whichever of the two is newer. No schema is ever overwritten or removed: the first text of a fingerprint stays, a
//! record's versions are merged by compare-and-set. Only what is no schema of its fingerprint is replaced.
//!
//! Looking up is done where messages come in ([`crate::intake`], [`crate::history`]), so that decoding itself needs no
//! broker. What was found and can be read is kept for the life of the process, [`MAX_KNOWN`] schemas at most; that one
//! is missing or unusable is not kept, because it may be put right at any moment.

pub mod standing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::kv;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use schemas::Record;
use schemas::cloudevents::HeaderSource;
use schemas::codec::{Foreign, foreign_fingerprint};
use schemas::record::{Fingerprint, Version};

use crate::broker::Broker;
use crate::topology::SCHEMAS_BUCKET;

/// Schemas kept in memory. Each takes some 10 KB; nobody writes with more at once.
const MAX_KNOWN: usize = 64;
/// Tries to merge a record's versions against others that do the same; each loses at most once to each.
const MERGE_TRIES: usize = 16;
/// Keys read when all are listed. Twelve records with a version a month make a thousand in seven years.
const MAX_KEYS: usize = 10_000;
/// How long it may take to list all of them.
const LIST_LIMIT: Duration = Duration::from_secs(20);
/// How long one look-up may take before the broker counts as away.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Why the registry could not be asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the schema registry does not answer: {0}")]
pub struct Unavailable(String);

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable(error.to_string())
}

/// Schemas that were looked up. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<VecDeque<Arc<Foreign>>>>);

impl Known {
    fn get(&self, fingerprint: Fingerprint) -> Option<Arc<Foreign>> {
        let known = self.0.lock().expect("nobody panics while holding the schemas");
        known.iter().find(|foreign| foreign.fingerprint == fingerprint).cloned()
    }

    fn put(&self, foreign: &Arc<Foreign>) {
        let mut known = self.0.lock().expect("nobody panics while holding the schemas");
        known.retain(|other| other.fingerprint != foreign.fingerprint);
        if known.len() >= MAX_KNOWN {
            known.pop_front();
        }
        known.push_back(Arc::clone(foreign));
    }
}

/// What the registry says about the schema a message was written with; `None` when nothing has to be looked up, which is
/// nearly always.
pub(crate) async fn resolve(
    broker: &Broker,
    headers: &impl HeaderSource,
    payload: &Bytes,
) -> Result<Option<Arc<Foreign>>, Unavailable> {
    let Some(fingerprint) = foreign_fingerprint(headers, payload) else { return Ok(None) };
    if let Some(known) = broker.schemas.get(fingerprint) {
        return Ok(Some(known));
    }
    let found =
        tokio::time::timeout(LOOKUP_LIMIT, look_up(broker, fingerprint)).await.map_err(unavailable)??;
    let Some(text) = found else { return Ok(Some(Arc::new(Foreign::missing(fingerprint)))) };
    let foreign = Arc::new(Foreign::read(fingerprint, &text));
    tracing::info!(
        fingerprint = %fingerprint,
        is_readable = foreign.is_readable(),
        "a schema this build was not made with was found in the registry"
    );
    // What cannot be used is asked for again: it may be put right at any moment.
    if foreign.is_readable() {
        broker.schemas.put(&foreign);
    }
    Ok(Some(foreign))
}

/// The text the registry has for a fingerprint.
///
/// # Errors
/// When the registry does not answer; a text that is no UTF-8 is none.
pub async fn look_up(broker: &Broker, fingerprint: Fingerprint) -> Result<Option<String>, Unavailable> {
    let bucket = open(broker).await?;
    let value = bucket.get(fingerprint.to_string()).await.map_err(unavailable)?;
    Ok(value.and_then(|text| String::from_utf8(text.into()).ok()))
}

/// Puts in every schema this build was made with. What is there stays.
///
/// # Errors
/// When the registry does not answer.
pub async fn register(broker: &Broker) -> Result<(), Unavailable> {
    let bucket = open(broker).await?;
    let texts = Version::all().flat_map(|version| {
        let names = [Some(version.fingerprint), version.library_fingerprint];
        names.into_iter().flatten().map(|name| put_text(&bucket, name, version.text))
    });
    futures_util::future::try_join_all(texts).await?;
    let records = Record::ALL.into_iter().map(|record| put_versions(&bucket, record));
    futures_util::future::try_join_all(records).await.map(drop)
}

/// What stands in the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The versions of each record, by its name.
    pub versions: BTreeMap<String, Versions>,
    /// The fingerprints of which the text is there.
    pub texts: BTreeSet<String>,
}

/// Lists what stands in the registry. Keys that are neither a fingerprint nor hold versions are passed over.
///
/// # Errors
/// When the registry does not answer, or holds more keys than can be.
pub async fn contents(broker: &Broker) -> Result<Contents, Unavailable> {
    tokio::time::timeout(LIST_LIMIT, list(broker)).await.map_err(unavailable)?
}

async fn list(broker: &Broker) -> Result<Contents, Unavailable> {
    let bucket = open(broker).await?;
    let keys = bucket.keys().await.map_err(unavailable)?.take(MAX_KEYS + 1);
    let keys: Vec<String> = keys.try_collect().await.map_err(unavailable)?;
    if keys.len() > MAX_KEYS {
        return Err(unavailable(format!("more than {MAX_KEYS} keys; this is no registry of ours")));
    }
    let mut contents = Contents::default();
    for key in keys {
        if Fingerprint::parse(&key).is_some() {
            contents.texts.insert(key);
        } else if let Some(value) = bucket.get(&key).await.map_err(unavailable)?
            && let Ok(versions) = serde_json::from_slice(&value)
        {
            contents.versions.insert(key, versions);
        }
    }
    Ok(contents)
}

async fn open(broker: &Broker) -> Result<kv::Store, Unavailable> {
    broker.jetstream.get_key_value(SCHEMAS_BUCKET).await.map_err(unavailable)
}

async fn put_text(
    bucket: &kv::Store,
    fingerprint: Fingerprint,
    text: &'static str,
) -> Result<(), Unavailable> {
    let key = fingerprint.to_string();
    for _ in 0..MERGE_TRIES {
        let entry = bucket.entry(&key).await.map_err(unavailable)?;
        let present = entry.as_ref().filter(|entry| entry.operation == kv::Operation::Put);
        let written = match present {
            Some(entry) if is_schema(&entry.value, fingerprint) => return Ok(()),
            Some(entry) => {
                tracing::error!(
                    key,
                    "the registry holds something else under one of our fingerprints; it is replaced"
                );
                bucket.update(&key, text.into(), entry.revision).await.map(drop).map_err(unavailable)
            }
            None => bucket.create(&key, text.into()).await.map(drop).map_err(unavailable),
        };
        match written {
            Ok(()) => return Ok(()),
            // Most likely somebody was faster; the next round shows.
            Err(error) => tracing::debug!(key, %error, "schema not written yet"),
        }
    }
    Err(unavailable(format!("the schema {key} cannot be written")))
}

/// True for a text that is a schema of this fingerprint, however it is documented.
fn is_schema(text: &[u8], fingerprint: Fingerprint) -> bool {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| schemas::shape::parse(text).ok()).is_some_and(|parsed| parsed.is_named(fingerprint))
}

/// The fingerprints of a record's versions, by number, as they stand in the registry.
pub type Versions = BTreeMap<u32, String>;

async fn put_versions(bucket: &kv::Store, record: Record) -> Result<(), Unavailable> {
    for _ in 0..MERGE_TRIES {
        let entry = bucket.entry(record.name()).await.map_err(unavailable)?;
        let present: Versions =
            entry.as_ref().and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default();
        let merged = merged(record, &present);
        if entry.is_some() && merged == present {
            return Ok(());
        }
        let text = serde_json::to_vec(&merged).expect("numbers and texts").into();
        let written = match &entry {
            Some(entry) => {
                bucket.update(record.name(), text, entry.revision).await.map(drop).map_err(unavailable)
            }
            None => bucket.create(record.name(), text).await.map(drop).map_err(unavailable),
        };
        match written {
            Ok(()) => return Ok(()),
            // Most likely somebody else's merge; the next round shows.
            Err(error) => tracing::debug!(record = record.name(), %error, "versions not merged yet"),
        }
    }
    Err(unavailable(format!("the versions of {} cannot be written", record.name())))
}

/// What stands there wins: two builds that disagree about a number are a fault of a release, and events already written
/// keep their meaning.
fn merged(record: Record, present: &Versions) -> Versions {
    let mut merged = present.clone();
    for version in record.versions() {
        let ours = version.fingerprint.to_string();
        let theirs = merged.entry(version.number).or_insert_with(|| ours.clone());
        if *theirs != ours {
            tracing::error!(
                record = record.name(),
                version = version.number,
                ours,
                theirs,
                "the registry has another schema under this version; one of the two was never published"
            );
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_newer_build_stay_and_ours_are_added() {
        let present = Versions::from([(7, "0123456789abcdef".to_owned())]);
        let merged = merged(Record::TrialReported, &present);
        assert_eq!(merged.keys().copied().collect::<Vec<_>>(), [1, 2, 7]);
        assert_eq!(merged[&2], Record::TrialReported.fingerprint().to_string());
    }

    #[test]
    fn the_oldest_schema_gives_way_when_too_many_are_known() {
        let known = Known::default();
        let print = |number: usize| Fingerprint(number.to_le_bytes());
        (0..=MAX_KNOWN).for_each(|number| known.put(&Arc::new(Foreign::missing(print(number)))));
        assert!(known.get(print(0)).is_none());
        assert!(known.get(print(1)).is_some() && known.get(print(MAX_KNOWN)).is_some());
    }
}

//! Giving a message up: the original bytes and headers, with the verdict, into the dead-letter stream.

mod letter;

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use schemas::cloudevents::{Headers, header};
use schemas::codec::{self, Foreign};
use schemas::dead_letter::{Place, Verdict};
use schemas::{Failure, RunId};

use crate::broker::Broker;
use crate::clock;
use crate::publish::{PublishFailure, Published};
use crate::topology::DLQ_BUCKET;
use letter::{Original, send};

/// Header of a dead letter that keeps in base64 the header block of a message no client can receive.
const KEPT_BLOCK: &str = "Cerebros-Original-Header-Block";
/// A dead letter is repeated this long while the broker does not confirm; then the delivery is left to come again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Note in the bucket of the dead-letter queue that says whether classifiers have stopped at their storm limit.
pub const STORM_NOTE: &str = "storm";

/// Whether the classifiers have stopped at their storm limit: then nobody fills the queue in their name.
pub(crate) async fn are_stopped(broker: &Broker) -> bool {
    #[derive(serde::Deserialize)]
    struct Standing {
        state: String,
    }
    let said = async {
        let bucket = broker.jetstream.get_key_value(DLQ_BUCKET).await.ok()?;
        let note = bucket.get(STORM_NOTE).await.ok()??;
        serde_json::from_slice::<Standing>(&note).ok()
    };
    said.await.is_some_and(|standing| standing.state == "stopped")
}

/// Publishes the dead letter of a message and waits for the confirmation. A second one of the same cause is a
/// duplicate to the broker, whose word is looked into: the sequence it goes by may have been another message's before.
pub async fn publish(
    broker: &Broker,
    place: &Place,
    failure: &Failure,
    headers: &Headers,
    payload: Bytes,
) -> Result<Published, PublishFailure> {
    publish_within(broker, place, failure, headers, payload, PATIENCE).await
}

/// The same for somebody with less patience.
pub async fn publish_within(
    broker: &Broker,
    place: &Place,
    failure: &Failure,
    headers: &Headers,
    payload: Bytes,
    patience: Duration,
) -> Result<Published, PublishFailure> {
    let run = run_of(place, headers, &payload, None);
    let verdict = Verdict::new(place, failure, clock::now(), headers).of_run(run);
    let original = Original { headers: Cow::Borrowed(headers), block: None, payload };
    send(broker, place, &verdict, &original, patience).await
}

/// Publishes the letter of a message no client can receive, with its header block as it is.
///
/// # Errors
/// As with the others; also when the broker has no room for all of it, because the message is not to stay where it is.
pub async fn publish_unreadable(
    broker: &Broker,
    place: &Place,
    failure: &Failure,
    block: &[u8],
    payload: Bytes,
) -> Result<Published, PublishFailure> {
    let mut headers = Headers::default();
    if !block.is_empty() {
        headers.push(KEPT_BLOCK, BASE64_STANDARD.encode(block));
    }
    let run = run_of(place, &headers, &payload, None);
    let verdict = Verdict::new(place, failure, clock::now(), &headers).of_run(run);
    let original = Original { headers: Cow::Owned(headers), block: Some(block), payload };
    send(broker, place, &verdict, &original, PATIENCE).await
}

/// Publishes the letter of a message that is gone, with all that is left of it: its verdict, which says so.
pub async fn publish_gone(
    broker: &Broker,
    place: &Place,
    failure: &Failure,
) -> Result<Published, PublishFailure> {
    let verdict = Verdict::new(place, failure, clock::now(), &Headers::default()).without_payload();
    let original = Original { headers: Cow::Owned(Headers::default()), block: None, payload: Bytes::new() };
    send(broker, place, &verdict, &original, PATIENCE).await
}

/// The run a dead message belongs to: what it says itself if it can be read, what its headers say, what its JSON says.
/// A valid request that names no run belongs to the run every reader derives from its place.
pub fn run_of(place: &Place, headers: &Headers, payload: &[u8], schema: Option<&Foreign>) -> Option<String> {
    if let Ok(decoded) = codec::decode_with(&place.subject, headers, payload, schema) {
        return Some(decoded.event.run_id().cloned().unwrap_or_else(|| place.derived_run()).to_string());
    }
    let legal = |text: &str| RunId::parse(text).ok().map(|run| run.to_string());
    from_headers(headers).and_then(legal).or_else(|| from_json(payload).as_deref().and_then(legal))
}

fn from_headers(headers: &Headers) -> Option<&str> {
    headers.get(header::RUN_ID).or_else(|| headers.get("ce-subject"))
}

fn from_json(payload: &[u8]) -> Option<String> {
    if payload.len() > codec::MAX_EVENT_BYTES {
        return None;
    }
    #[derive(serde::Deserialize)]
    struct Named {
        run_id: String,
    }
    serde_json::from_slice::<Named>(payload).ok().map(|named| named.run_id)
}

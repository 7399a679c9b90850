//! Messages no client can receive: the broker takes in header blocks and subjects that are not UTF-8 or break the
//! protocol, and hands them out as they are. A client's only answer is to drop its connection (or, for a lone carriage
//! return, to break down), at every delivery, for ever: one such message would stop every consumer of the stream.
//!
//! So before we begin, and whenever our connection was replaced, the messages in hand are looked at, all of them, through the broker's JSON API, which
//! carries headers in base64. What cannot be read is dead-lettered with its header block, and then **deleted
//! from the event stream**, the one case in which an event is taken out: nobody could ever have read it, and everybody
//! would go on stumbling over it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use schemas::dead_letter::Place;
use schemas::subject::STREAM;
use schemas::{Failure, FailureClass, Stage, Timestamp};
use serde::{Deserialize, Serialize};
use service_kit::broker::Broker;
use service_kit::dead_letter;
use service_kit::history::{self, Raw};
use service_kit::shutdown::Shutdown;
use service_kit::topology::{CLASSIFIER_CONSUMER, DLQ_BUCKET};

use super::Measures;
use super::notes::{Note, Notes};

/// How often we look whether the connection was replaced.
const CHECK: Duration = Duration::from_millis(100);
/// Pause after a sweep that did not come to its end.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Messages looked at in one go; more than the broker hands out at once.
const PAGE: u64 = 20_000;
/// Key of the note about what was looked at.
const LOOKED: &str = "unreadable";
/// Requests on their way at once; a message may have half a megabyte.
const IN_FLIGHT: usize = 16;

pub(super) async fn run(broker: Broker, measures: Measures, shutdown: Shutdown) {
    let statistics = broker.client.statistics();
    // The caller has looked at the newest; the others are looked at once, whether or not anything breaks.
    let mut swept_at = None;
    let mut ticks = tokio::time::interval(CHECK);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.drain() => return,
        }
        let connects = statistics.connects.load(Ordering::Relaxed);
        if swept_at == Some(connects) || !broker.is_connected() {
            continue;
        }
        let swept = tokio::select! {
            swept = sweep(&broker, &measures) => swept,
            () = shutdown.drain() => return,
        };
        match swept {
            // A connection lost during the sweep calls for another one.
            Ok(()) => swept_at = Some(connects),
            Err(error) => {
                tracing::warn!(error, "messages in hand cannot be looked at yet");
                tokio::select! {
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                    () = shutdown.drain() => return,
                }
            }
        }
    }
}

/// What has been looked at already, in the bucket of the dead-letter queue: what could be received once can be again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Looked {
    /// When the stream was created, in microseconds: another one begins anew.
    created: i64,
    /// Everything up to here, but for the newest messages, which are looked at each time.
    through: u64,
}

/// Looks at every message that was handed out and not settled. The newest first: one of those has just ended a connection;
/// then the others, of which there may be millions while the oldest of all waits for its letter.
async fn sweep(broker: &Broker, measures: &Measures) -> Result<(), String> {
    let (first, newest) = sweep_newest(broker, measures).await?;
    if newest == first {
        return Ok(());
    }
    let stream = broker.jetstream.get_stream(STREAM).await.map_err(|error| error.to_string())?;
    let notes = Notes::open(broker, DLQ_BUCKET).await?;
    let created = Timestamp::from(stream.cached_info().created).micros();
    let mut note = notes.read::<Looked>(LOOKED).await?;
    let known = note.said.as_ref().filter(|looked| looked.created == created);
    let mut next = first.max(known.map_or(0, |looked| looked.through) + 1);
    while next < newest {
        let through = (next + PAGE - 1).min(newest - 1);
        look_at(broker, measures, next..=through).await?;
        // Another classifier that is faster has looked at it as well.
        let looked = Looked { created, through };
        let Some(revision) = notes.write(LOOKED, &note, &looked).await? else { return Ok(()) };
        note = Note { said: Some(looked), revision: Some(revision) };
        next = through + 1;
    }
    Ok(())
}

/// Looks at the newest of them, the last first, before they come again and end the connection; returns the first there is and the first that was looked at.
pub(super) async fn sweep_newest(broker: &Broker, measures: &Measures) -> Result<(u64, u64), String> {
    let stream = broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| error.to_string())?;
    let state = stream.consumer_info(CLASSIFIER_CONSUMER).await.map_err(|error| error.to_string())?;
    let (first, last) = (state.ack_floor.stream_sequence + 1, state.delivered.stream_sequence);
    let newest = first.max((last + 1).saturating_sub(PAGE));
    look_at(broker, measures, (newest..=last).rev()).await?;
    Ok((first, newest))
}

/// Looks at messages. One that cannot be dealt with keeps nobody from the others.
async fn look_at(
    broker: &Broker,
    measures: &Measures,
    sequences: impl Iterator<Item = u64>,
) -> Result<(), String> {
    let mut messages = futures_util::stream::iter(sequences)
        .map(|sequence| history::raw(broker, STREAM, sequence))
        .buffered(IN_FLIGHT);
    let mut undone = None;
    while let Some(message) = messages.next().await {
        let Some(message) = message.map_err(|error| error.to_string())? else { continue };
        let Some(reason) = fault(&message) else { continue };
        let sequence = message.sequence;
        match remove(broker, &message, &reason).await {
            Ok(()) => {
                measures.died(FailureClass::Decode);
                tracing::warn!(
                    sequence,
                    reason,
                    "message {sequence} can be received by no client: dead-lettered and deleted"
                );
            }
            Err(error) => undone = Some(format!("message {sequence}: {error}")),
        }
    }
    undone.map_or(Ok(()), Err)
}

/// Deletes a message from the stream when its letter is confirmed.
async fn remove(broker: &Broker, message: &Raw, reason: &str) -> Result<(), String> {
    give_up(broker, message, reason).await?;
    let stream = broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| error.to_string())?;
    stream.delete_message(message.sequence).await.map(drop).map_err(|error| error.to_string())
}

/// Why no client can receive a message; `None` for one that can be received. Pure.
fn fault(message: &Raw) -> Option<String> {
    if message.subject.contains(char::REPLACEMENT_CHARACTER) {
        return Some("the subject is not UTF-8".to_owned());
    }
    if message.header_block.is_empty() {
        return None;
    }
    let text = match std::str::from_utf8(&message.header_block) {
        Ok(text) => text,
        Err(error) => return Some(format!("the headers are not UTF-8 from byte {}", error.valid_up_to())),
    };
    let mut lines = text.lines();
    let is_version = lines.next().is_some_and(|line| line.strip_prefix("NATS/1.0").is_some_and(is_status));
    if !is_version {
        return Some("the headers do not begin with NATS/1.0".to_owned());
    }
    let mut follows_a_header = false;
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        // Continues the value of the line before.
        if follows_a_header && line.starts_with(char::is_whitespace) {
            continue;
        }
        let name = line.split_once(':').map(|(name, _)| name);
        if !name.is_some_and(|name| name.chars().all(|character| character.is_ascii_graphic())) {
            return Some(format!("line {} of the headers is no `Name: value`", number + 2));
        }
        if line.contains('\r') {
            return Some(format!("line {} of the headers holds a carriage return", number + 2));
        }
        follows_a_header = true;
    }
    None
}

/// What may stand behind the version: nothing, or a status of three digits and a text.
fn is_status(rest: &str) -> bool {
    let code = rest.trim().split(' ').next().unwrap_or_default();
    code.is_empty()
        || (code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()) && !code.starts_with('0'))
}

async fn give_up(broker: &Broker, message: &Raw, reason: &str) -> Result<(), String> {
    let failure =
        Failure::new(FailureClass::Decode, Stage::Decode, format!("no client can receive it: {reason}"));
    let place = Place {
        stream: STREAM.to_owned(),
        sequence: message.sequence,
        consumer: CLASSIFIER_CONSUMER.to_owned(),
        subject: message.subject.clone(),
        deliveries: 1,
        first_seen: message.time,
    };
    let (block, payload) = (&message.header_block, message.payload.clone());
    let published = dead_letter::publish_unreadable(broker, &place, &failure, block, payload).await;
    published.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(headers: &[u8]) -> Raw {
        Raw {
            subject: "ml.run.trial".into(),
            sequence: 1,
            time: schemas::Timestamp::default(),
            header_block: headers.to_vec(),
            payload: Bytes::new(),
        }
    }

    #[test]
    fn headers_a_client_can_read_are_left_alone() {
        let readable: [&[u8]; 5] = [
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0\r\nA: b\r\nC:d\r\n\r\n",
            b"NATS/1.0\r\nA: b\r\n  continued\r\n\r\n",
            "NATS/1.0\r\nA: ü: \u{1b}[31m\r\n\r\n".as_bytes(),
            b"NATS/1.0 503\r\n\r\n",
        ];
        for headers in readable {
            assert_eq!(fault(&message(headers)), None, "{headers:?}");
        }
        assert_eq!(fault(&message(b"")), None);
    }

    #[test]
    fn headers_that_break_the_protocol_are_found() {
        let broken: [&[u8]; 6] = [
            b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\nA B: c\r\n\r\n",
            b"NATS/1.0\r\nA: c\rd\r\n\r\n",
            b"garbage\r\n\r\n",
            b"NATS/1.0 999999 x\r\n\r\n",
        ];
        for headers in broken {
            assert!(fault(&message(headers)).is_some(), "{headers:?}");
        }
        let subject = Raw { subject: "ml.run.\u{fffd}".into(), ..message(b"") };
        assert!(fault(&subject).is_some());
    }
}

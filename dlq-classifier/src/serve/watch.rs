//! Watches the dead-letter queue: its numbers for Prometheus, and its alerts.
//!
//! The queue is read for counting only; nothing is done about what is read. Each change of an alert is decided on its
//! state in the broker by compare-and-set, and its event is named by that revision: several classifiers make one, and
//! whoever died between the two is followed by the next one to look.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::cloudevents::{Headers, header};
use schemas::dead_letter::ID;
use schemas::subject::{DLQ_OPERATION_PREFIX, DLQ_PREFIX, DLQ_STREAM};
use schemas::{FailureClass, Timestamp};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::history::{Depth, Glance, Scan};
use service_kit::publish::{self, Outgoing};
use service_kit::shutdown::Shutdown;
use service_kit::topology::DLQ_BUCKET;
use tokio::time::{MissedTickBehavior, interval};

use super::Measures;
use super::notes::Notes;
use crate::alert::{Alert, Bounds, Kind, State, judge};
use crate::operation::{self, Operation};
use crate::tally::Tally;

/// How often the queue is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Pause after the queue could not be read.
const PAUSE: Duration = Duration::from_secs(5);
/// How long an event is repeated while the broker does not confirm it.
const PATIENCE: Duration = Duration::from_secs(10);
/// A change older than this is not said again: the broker may have forgotten the message id by then.
const SAID_AGAIN: Duration = Duration::from_secs(12 * 3600);

pub(super) async fn run(broker: Broker, measures: Measures, bounds: Bounds, shutdown: Shutdown) {
    loop {
        let reason = tokio::select! {
            reason = watch(&broker, &measures, &bounds) => reason,
            () = shutdown.drain() => return,
        };
        tracing::warn!(reason, "the dead-letter queue cannot be watched; trying again");
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.drain() => return,
        }
    }
}

/// Counts until something fails; says what.
async fn watch(broker: &Broker, measures: &Measures, bounds: &Bounds) -> String {
    let Err(reason) = try_watch(broker, measures, bounds).await;
    reason
}

async fn try_watch(
    broker: &Broker,
    measures: &Measures,
    bounds: &Bounds,
) -> Result<std::convert::Infallible, String> {
    let mut tally = Tally::default();
    let mut letters = Reading { subjects: letter_subjects(), depth: Depth::Headers, next: 1 };
    let records = vec![format!("{DLQ_OPERATION_PREFIX}>")];
    let mut records = Reading { subjects: records, depth: Depth::Whole, next: 1 };
    let mut speaker = Speaker::open(broker, bounds).await?;
    let mut look = interval(EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        letters.catch_up(broker, &mut tally).await?;
        records.catch_up(broker, &mut tally).await?;
        let values = measure(broker, &mut tally, bounds).await?;
        measures.queue(&values);
        let mut changes = Vec::new();
        for (kind, value) in values {
            match speaker.judge(kind, value).await {
                Ok(judged) => {
                    measures.alert(kind, judged.state);
                    changes.extend(judged.unsaid);
                }
                Err(reason) => tracing::warn!(alert = kind.as_str(), reason, "an alert cannot be judged yet"),
            }
        }
        // What is not said now is said at the next look; nothing else waits for it.
        for change in changes {
            speaker.say(change).await;
        }
    }
}

/// The subjects of all dead letters: everything but records and alerts.
fn letter_subjects() -> Vec<String> {
    FailureClass::ALL.iter().map(|class| format!("{DLQ_PREFIX}{class}.>")).collect()
}

/// Some subjects of the queue, read up to the present again and again.
struct Reading {
    subjects: Vec<String>,
    depth: Depth,
    /// First sequence that was not read.
    next: u64,
}

impl Reading {
    async fn catch_up(&mut self, broker: &Broker, tally: &mut Tally) -> Result<(), String> {
        let range = (self.next, u64::MAX);
        let mut scan =
            Scan::open(broker, DLQ_STREAM, &self.subjects, range, self.depth).await.map_err(text)?;
        while let Some(glance) = scan.next().await.map_err(text)? {
            self.next = glance.sequence + 1;
            take(tally, &glance);
        }
        Ok(())
    }
}

fn take(tally: &mut Tally, glance: &Glance) {
    if glance.subject().starts_with(DLQ_OPERATION_PREFIX) {
        let Some(record) = Operation::read(glance.subject(), glance.payload()) else { return };
        match record.operation {
            operation::Kind::Replayed | operation::Kind::Discarded => {
                record.ids.iter().for_each(|id| tally.handled(id, glance.sequence));
            }
            operation::Kind::Resumed | operation::Kind::Expired | operation::Kind::Purged => {}
        }
    } else if let Some((_, id)) = glance.headers().find(|(name, _)| name.eq_ignore_ascii_case(ID)) {
        tally.letter(glance.sequence, id, glance.time);
    }
}

/// The numbers, and what the stream has dropped.
async fn measure(broker: &Broker, tally: &mut Tally, bounds: &Bounds) -> Result<BTreeMap<Kind, f64>, String> {
    let stream = broker.jetstream.get_stream(DLQ_STREAM).await.map_err(text)?;
    let info = stream.cached_info();
    tally.forget_before(info.state.first_sequence);
    let now = clock::now();
    let room = match info.config.max_bytes {
        limit @ 1.. => info.state.bytes as f64 / limit as f64,
        _ => 0.0,
    };
    let expiring = tally.expiring(now, info.config.max_age, bounds.notice);
    Ok(BTreeMap::from([
        (Kind::Depth, tally.open() as f64),
        (Kind::Age, tally.oldest(now).as_secs_f64()),
        (Kind::Rate, f64::from(tally.rate(now))),
        (Kind::Room, room),
        (Kind::Expiring, expiring as f64),
    ]))
}

/// Says changes, once.
struct Speaker<'a> {
    broker: &'a Broker,
    bounds: &'a Bounds,
    notes: Notes,
    /// Revisions whose event the broker has.
    said: BTreeMap<Kind, u64>,
    /// Revisions whose event it did not take, of which that was told.
    failed: BTreeMap<Kind, u64>,
}

/// What was found about an alert.
struct Judged {
    state: State,
    /// A change of which the broker may not have the event.
    unsaid: Option<(Alert, u64)>,
}

impl<'a> Speaker<'a> {
    async fn open(broker: &'a Broker, bounds: &'a Bounds) -> Result<Self, String> {
        let notes = Notes::open(broker, DLQ_BUCKET).await?;
        Ok(Self { broker, bounds, notes, said: BTreeMap::new(), failed: BTreeMap::new() })
    }

    /// Notes what has become of an alert, if it has changed.
    async fn judge(&mut self, kind: Kind, value: f64) -> Result<Judged, String> {
        let note = self.notes.read::<Alert>(&kind.key()).await?;
        let said = note.said.as_ref().map_or(State::Cleared, |known| known.state);
        let now = clock::now();
        let known = match judge(kind, said, value, self.bounds, now) {
            // When another classifier was faster, it says it.
            Some(alert) => {
                self.notes.write(&kind.key(), &note, &alert).await?.map(|revision| (alert, revision))
            }
            None => note.said.zip(note.revision),
        };
        let Some((alert, revision)) = known else { return Ok(Judged { state: said, unsaid: None }) };
        let state = alert.state;
        let is_news = self.said.get(&kind) != Some(&revision) && is_recent(alert.at, now);
        Ok(Judged { state, unsaid: is_news.then_some((alert, revision)) })
    }

    /// Says a change, or tells once that it cannot be said.
    async fn say(&mut self, (alert, revision): (Alert, u64)) {
        let kind = alert.alert;
        match self.publish(&alert, revision).await {
            Ok(()) => drop(self.said.insert(kind, revision)),
            Err(reason) if self.failed.insert(kind, revision) != Some(revision) => {
                tracing::warn!(
                    alert = kind.as_str(),
                    reason,
                    "an alert cannot be published yet: {}",
                    alert.message
                );
            }
            Err(reason) => tracing::debug!(alert = kind.as_str(), reason, "an alert cannot be published yet"),
        }
    }

    async fn publish(&self, alert: &Alert, revision: u64) -> Result<(), String> {
        let mut headers = Headers::default();
        headers.push(header::MESSAGE_ID, format!("dlq-alert:{}:{revision}", alert.alert.as_str()));
        headers.push(header::CONTENT_TYPE, "application/json");
        let message = Outgoing {
            subject: alert.alert.subject(),
            headers: publish::to_header_map(&headers),
            payload: serde_json::to_vec(alert).expect("an alert is plain data").into(),
        };
        let published = publish::send(self.broker, &message, PATIENCE).await.map_err(text)?;
        if !published.is_duplicate {
            match alert.state {
                State::Crossed => tracing::warn!(alert = alert.alert.as_str(), "{}", alert.message),
                State::Cleared => tracing::info!(alert = alert.alert.as_str(), "{}", alert.message),
            }
        }
        Ok(())
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    let age = Duration::from_micros(u64::try_from(now.micros() - at.micros()).unwrap_or(0));
    age < SAID_AGAIN
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

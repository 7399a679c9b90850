//! Reads the dead-letter stream up to the present again and again, and counts along.
//!
//! What was counted holds for as long as the stream is the one it was and holds what was read of it. When somebody has
//! purged or deleted, or made the stream anew, everything is read again.

use std::time::Duration;

use async_nats::jetstream::stream::Info;
use schemas::dead_letter::ID;
use schemas::subject::{DLQ_ALERT_PREFIX, DLQ_OPERATION_PREFIX, DLQ_STREAM};
use service_kit::broker::Broker;
use service_kit::history::{Depth, Glance, Scan};

use super::seen::Seen;
use super::text;
use crate::operation::{self, Operation};
use crate::tally::Tally;

/// The queue as far as it was read.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) tally: Tally,
    seen: Seen,
    /// When the stream was made, as it says.
    made: Option<String>,
    /// First sequences that were not read: of everything by its headers, and of the records.
    next: u64,
    next_record: u64,
}

/// What the stream says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// Part of its room that is taken, 0 to 1.
    pub(super) room: f64,
    /// How long it keeps a message.
    pub(super) max_age: Duration,
}

impl Reading {
    /// Reads what is new.
    pub(super) async fn catch_up(&mut self, broker: &Broker) -> Result<Facts, String> {
        let stream = broker.jetstream.get_stream(DLQ_STREAM).await.map_err(text)?;
        let info = stream.cached_info();
        let made = info.created.to_string();
        if self.made.as_ref().is_some_and(|known| *known != made) {
            *self = Self::default();
        }
        self.made = Some(made);
        self.read(broker).await?;
        let state = &info.state;
        let (first, last) = (state.first_sequence, state.last_sequence);
        if self.seen.count(first, last) != state.messages {
            tracing::info!("messages were taken out of the dead-letter stream; it is counted anew");
            *self = Self { made: self.made.take(), ..Self::default() };
            self.read(broker).await?;
        }
        self.tally.forget_before(first);
        self.seen.forget_before(first);
        Ok(facts(info))
    }

    async fn read(&mut self, broker: &Broker) -> Result<(), String> {
        let mut all = open(broker, &[], self.next, Depth::Headers).await?;
        while let Some(glance) = all.next().await.map_err(text)? {
            self.next = glance.sequence + 1;
            self.seen.take(glance.sequence);
            letter(&mut self.tally, &glance);
        }
        let records = [format!("{DLQ_OPERATION_PREFIX}>")];
        let mut records = open(broker, &records, self.next_record, Depth::Whole).await?;
        while let Some(glance) = records.next().await.map_err(text)? {
            self.next_record = glance.sequence + 1;
            record(&mut self.tally, &glance);
        }
        Ok(())
    }
}

async fn open(broker: &Broker, subjects: &[String], from: u64, depth: Depth) -> Result<Scan, String> {
    Scan::open(broker, DLQ_STREAM, subjects, (from.max(1), u64::MAX), depth).await.map_err(text)
}

fn facts(info: &Info) -> Facts {
    let room = match info.config.max_bytes {
        limit @ 1.. => info.state.bytes as f64 / limit as f64,
        _ => 0.0,
    };
    Facts { room, max_age: info.config.max_age }
}

fn letter(tally: &mut Tally, glance: &Glance) {
    let subject = glance.subject();
    if subject.starts_with(DLQ_OPERATION_PREFIX) || subject.starts_with(DLQ_ALERT_PREFIX) {
        return;
    }
    if let Some((_, id)) = glance.headers().find(|(name, _)| name.eq_ignore_ascii_case(ID)) {
        tally.letter(glance.sequence, id, glance.time);
    }
}

fn record(tally: &mut Tally, glance: &Glance) {
    let Some(record) = Operation::read(glance.subject(), glance.payload()) else { return };
    match record.operation {
        operation::Kind::Replayed | operation::Kind::Discarded => {
            record.ids.iter().for_each(|id| tally.handled(id, glance.sequence));
        }
        operation::Kind::Resumed
        | operation::Kind::Expired
        | operation::Kind::Purged
        | operation::Kind::Acknowledged => {}
    }
}

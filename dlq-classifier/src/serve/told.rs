//! Which messages the queue tells of already, for who finds out about one so late that the broker has forgotten the message
//! id of its letter. Read once, and held as hashes.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use schemas::Timestamp;
use schemas::dead_letter::{Place, Verdict};
use schemas::subject::{DLQ_OPERATION_PREFIX, DLQ_STREAM};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::history::{Depth, Scan};

use crate::operation::Operation;

/// What is younger the broker tells by its id: half of the time it remembers one for, so that two clocks that differ, and a
/// letter that was written a while before, make no difference.
const YOUNG: Duration = Duration::from_secs(12 * 3600);
/// Hashes that are held, about 20 bytes each, two for a letter. Of what is beyond them a second letter may be written, which
/// is the same entry.
const MAX_HELD: usize = 1_000_000;

/// What the queue tells of.
#[derive(Debug, Default)]
pub(super) struct Told {
    held: HashSet<u64>,
    hasher: RandomState,
    /// When the queue was read: of what came since the broker knows the ids.
    read_at: Option<Instant>,
}

/// Whether the broker may have forgotten the letter of something that was noticed then.
pub(super) fn is_old(noticed: Timestamp) -> bool {
    let age = clock::now().micros().saturating_sub(noticed.micros());
    Duration::from_micros(u64::try_from(age).unwrap_or(0)) >= YOUNG
}

impl Told {
    /// Whether a message has a letter, or had one that somebody has dealt with. One that is gone has only its place.
    pub(super) async fn has(
        &mut self,
        broker: &Broker,
        place: &Place,
        is_gone: bool,
    ) -> Result<bool, String> {
        if self.read_at.is_none_or(|at| at.elapsed() >= YOUNG) {
            self.held.clear();
            self.read(broker).await?;
            self.read_at = Some(Instant::now());
        }
        let digest = if is_gone {
            self.of_place(place.sequence, &place.consumer)
        } else {
            self.of_id(&place.entry_id())
        };
        Ok(self.held.contains(&digest))
    }

    async fn read(&mut self, broker: &Broker) -> Result<(), String> {
        let range = (1, u64::MAX);
        let records = [format!("{DLQ_OPERATION_PREFIX}>")];
        let opened = Scan::open(broker, DLQ_STREAM, &records, range, Depth::Whole).await;
        let mut scan = opened.map_err(|error| error.what)?;
        while let Some(record) = scan.next().await.map_err(|error| error.what)? {
            let operation = Operation::read(record.subject(), record.payload());
            for id in operation.map(|operation| operation.ids).unwrap_or_default() {
                let digest = self.of_id(&id);
                self.hold([digest]);
            }
        }
        let opened = Scan::open(broker, DLQ_STREAM, &[], range, Depth::Headers).await;
        let mut scan = opened.map_err(|error| error.what)?;
        while let Some(letter) = scan.next().await.map_err(|error| error.what)? {
            if let Some(verdict) = Verdict::find(letter.headers()) {
                let digests = [self.of_id(&verdict.id), self.of_place(verdict.sequence, &verdict.consumer)];
                self.hold(digests);
            }
        }
        Ok(())
    }

    fn hold<const N: usize>(&mut self, digests: [u64; N]) {
        if self.held.len() + N <= MAX_HELD {
            self.held.extend(digests);
        }
    }

    fn of_id(&self, id: &str) -> u64 {
        self.hasher.hash_one(id)
    }

    fn of_place(&self, sequence: u64, consumer: &str) -> u64 {
        self.hasher.hash_one((sequence, consumer))
    }
}

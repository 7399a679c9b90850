//! Announcements of runs that nobody has judged yet: an event of a run nobody knows is no fault while the word that
//! announces the run is still on its way through a classifier, this one or another, alive or killed.
//!
//! A classifier notes an announcement before it settles it. One that is not noted is therefore above the ack floor, and
//! is found there by reading the few subjects that announce runs, each message once ([`Waiting`], pure). The floor is
//! read before the note is: what is settled in between is found in the note.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use schemas::subject::STREAM;
use schemas::{RunId, Timestamp};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::history::{History, Kept};
use service_kit::topology::CLASSIFIER_CONSUMER;

/// What announces a run.
const SUBJECTS: [&str; 3] = ["cerebros.nas.run.requested", "cerebros.nas.run.started", "ml.run.start"];
/// How long ago a floor was read before it counts: a note may be that late on another node of a cluster.
const RIPE_AFTER: Duration = Duration::from_millis(500);
/// A floor older than this is read anew: what lies between is better not read again.
const STALE_AFTER: Duration = Duration::from_secs(30);
/// Pause between two readings of the stream.
const READ_EVERY: Duration = Duration::from_millis(200);
/// Most announcements that are kept, 24 bytes each.
const MAX_WAITING: usize = 1 << 18;

/// What is known of a run nobody has noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum Word {
    /// Nothing announces it that came in time.
    None,
    /// It may be announced; look again after a pause.
    Later(Duration),
}

/// Looks for announcements that wait.
pub(super) struct Lookout {
    broker: Broker,
    floors: Floors,
    waiting: Waiting,
    /// What the stream took in until then was read.
    read_until: Timestamp,
    read_at: Option<Instant>,
}

impl Lookout {
    pub(super) fn new(broker: &Broker) -> Self {
        Self {
            broker: broker.clone(),
            floors: Floors::default(),
            waiting: Waiting::default(),
            read_until: Timestamp::default(),
            read_at: None,
        }
    }

    /// An ack floor that was read long enough ago. What was settled below it is in the notes by now.
    pub(super) async fn floor(&mut self) -> Result<Result<u64, Duration>, String> {
        let now = Instant::now();
        if self.floors.is_due(now) {
            let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.map_err(text)?;
            let info = stream.consumer_info(CLASSIFIER_CONSUMER).await.map_err(text)?;
            self.floors.take(info.ack_floor.stream_sequence, now);
        }
        Ok(self.floors.ripe(now))
    }

    /// Whether a run is announced above a floor by what the stream took in until `until`, or by what came later and was
    /// read all the same.
    pub(super) async fn word(&mut self, run: &RunId, floor: u64, until: Timestamp) -> Result<Word, String> {
        if self.waiting.begin(floor) {
            (self.read_until, self.read_at) = (Timestamp::default(), None);
        }
        if self.waiting.has(run, floor) {
            return Ok(Word::Later(RIPE_AFTER));
        }
        if until <= self.read_until {
            return Ok(Word::None);
        }
        if let Some(left) = self.read_at.and_then(|at| READ_EVERY.checked_sub(at.elapsed())) {
            return Ok(Word::Later(left));
        }
        self.read(floor).await?;
        Ok(if self.waiting.has(run, floor) { Word::Later(RIPE_AFTER) } else { Word::None })
    }

    async fn read(&mut self, floor: u64) -> Result<(), String> {
        let began = clock::now();
        let from = self.waiting.next;
        let mut history = History::to_the_present(&self.broker, STREAM, &SUBJECTS, from)
            .await
            .map_err(|error| error.what)?;
        while let Some(kept) = history.next().await.map_err(|error| error.what)? {
            let has_room = self.waiting.take(kept.sequence, announced(&kept), floor);
            if !has_room {
                return Err(format!("more than {MAX_WAITING} announcements of runs wait to be judged"));
            }
        }
        (self.read_until, self.read_at) = (began, Some(Instant::now()));
        Ok(())
    }
}

/// The run a message announces, if it can be read.
fn announced(kept: &Kept) -> Option<RunId> {
    let event = kept.decode().ok()?.event;
    // Of these only a request may leave it out.
    Some(event.run_id().cloned().unwrap_or_else(|| kept.derived_run_id(STREAM)))
}

/// Ack floors as they were read: one that is ripe, and one that will be.
#[derive(Debug, Default)]
struct Floors {
    ripe: Option<(u64, Instant)>,
    next: Option<(u64, Instant)>,
}

impl Floors {
    fn is_due(&mut self, now: Instant) -> bool {
        if self.ripe.is_some_and(|(_, at)| now > at + STALE_AFTER) {
            self.ripe = None;
        }
        if self.next.is_some_and(|(_, at)| now >= at + RIPE_AFTER) {
            self.ripe = self.next.take().filter(|(_, at)| now <= *at + STALE_AFTER);
        }
        self.next.is_none()
    }

    fn take(&mut self, floor: u64, now: Instant) {
        self.next = Some((floor, now));
    }

    fn ripe(&self, now: Instant) -> Result<u64, Duration> {
        let left = |at: Instant| (at + RIPE_AFTER).saturating_duration_since(now);
        match (self.ripe, self.next) {
            (Some((floor, _)), _) => Ok(floor),
            (None, Some((_, at))) => Err(left(at)),
            (None, None) => Err(RIPE_AFTER),
        }
    }
}

/// The runs announced above a floor, as hashes, with the last message that does.
#[derive(Debug, Default)]
struct Waiting {
    runs: HashMap<u64, u64>,
    /// First sequence that is covered, and the first that was not read.
    from: u64,
    next: u64,
}

impl Waiting {
    /// Goes on from a floor; true where nothing that was read counts.
    fn begin(&mut self, floor: u64) -> bool {
        // A consumer that was set back, or whose floor has passed everything that was read.
        let is_anew = self.next == 0 || floor + 1 < self.from;
        if is_anew {
            *self = Self { runs: HashMap::new(), from: floor + 1, next: floor + 1 };
        } else if self.next <= floor {
            self.runs.clear();
            (self.from, self.next) = (floor + 1, floor + 1);
        }
        is_anew
    }

    /// A message was read; false when there is no room for what it announces.
    fn take(&mut self, sequence: u64, run: Option<RunId>, floor: u64) -> bool {
        if let Some(run) = run {
            if self.runs.len() >= MAX_WAITING {
                self.runs.retain(|_, at| *at > floor);
                self.from = self.from.max(floor + 1);
            }
            if self.runs.len() >= MAX_WAITING {
                return false;
            }
            self.runs.insert(digest(&run), sequence);
        }
        self.next = sequence + 1;
        true
    }

    fn has(&self, run: &RunId, floor: u64) -> bool {
        self.runs.get(&digest(run)).is_some_and(|sequence| *sequence > floor)
    }
}

fn digest(run: &RunId) -> u64 {
    let mut hasher = DefaultHasher::new();
    run.hash(&mut hasher);
    hasher.finish()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;

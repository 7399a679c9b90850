//! An entry of the dead-letter queue as people see it: the verdict, and what became of it since.
//!
//! Pure. An entry does not hold its payload: a queue of gigabytes is listed in a few megabytes, and the bytes are
//! fetched by [`Entry::kept_at`] when somebody wants them.

use std::collections::HashMap;

use schemas::cloudevents::header;
use schemas::dead_letter::{MAX_REPLAYS, Place, Verdict, block_bytes_said, original_headers};
use schemas::{FailureClass, RunId, Stage, Timestamp};
use serde::Serialize;
use service_kit::dead_letter;
use service_kit::history::{Glance, Kept};
use service_kit::output::Row;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum State {
    /// Nobody has dealt with it.
    Open,
    /// Its message was published again, and confirmed.
    Replayed,
    /// Somebody decided that it is not needed.
    Discarded,
    /// Its message has been replayed too often already; bulk actions leave it alone.
    Quarantined,
}

impl State {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Quarantined => "quarantined",
        }
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Identity, such as `42-9f3c`.
    pub id: String,
    /// What became of it.
    pub state: State,
    /// Class of the fault.
    pub class: FailureClass,
    /// Where the fault showed.
    pub stage: Stage,
    /// The failing path and what was expected.
    pub reason: String,
    /// Equal for equal faults.
    pub fingerprint: String,
    /// Stream the message was in.
    pub stream: String,
    /// Its sequence there.
    pub seq: u64,
    /// Consumer that could not handle it.
    pub consumer: String,
    /// Subject it came on.
    pub subject: String,
    /// Run it belongs to, as far as it can be told.
    pub run_id: Option<String>,
    /// Deliveries it took.
    pub deliveries: u64,
    /// When the stream took the message in.
    pub first_seen: Timestamp,
    /// How often it had been replayed when it died.
    pub replays: u32,
    /// Size of the payload.
    pub bytes: usize,
    /// When it was given up.
    #[serde(skip)]
    pub seen: Timestamp,
    /// Sequence of the dead letter in the dead-letter stream.
    #[serde(skip)]
    pub kept_at: u64,
}

impl Entry {
    /// Reads a dead letter; `None` for a message that bears no verdict.
    pub fn read(kept: &Kept) -> Option<Self> {
        let verdict = Verdict::read(&kept.headers)?;
        let place = verdict.place();
        let entry = Self::of(verdict, kept.sequence, kept.payload.len());
        Some(Self { run_id: entry.run_id.or_else(|| run_of(kept, &place)), ..entry })
    }

    /// Reads a dead letter by its headers alone.
    pub fn glance(letter: &Glance) -> Option<Self> {
        let (mut whole, mut block) = (None, None);
        let headers = letter.headers().inspect(|(name, value)| {
            whole = Glance::bytes_said(name, value).or(whole);
            block = block.or_else(|| block_bytes_said(name, value));
        });
        let verdict = Verdict::find(headers)?;
        let bytes = letter.bytes(whole).saturating_sub(block.unwrap_or(0));
        let entry = Self::of(verdict, letter.sequence, bytes);
        if entry.run_id.is_some() {
            return Some(entry);
        }
        // Earlier builds left the run to the reader; what the headers do not tell, `show` reads from the payload.
        let named = |wanted: &str| {
            letter.headers().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let run = named(header::RUN_ID).or_else(|| named("ce-subject"));
        Some(Self { run_id: run.and_then(|run| RunId::parse(run).ok()).map(|run| run.to_string()), ..entry })
    }

    fn of(verdict: Verdict, kept_at: u64, bytes: usize) -> Self {
        let state = if verdict.replays >= MAX_REPLAYS { State::Quarantined } else { State::Open };
        Self {
            state,
            run_id: verdict.run,
            bytes,
            kept_at,
            id: verdict.id,
            class: verdict.class,
            stage: verdict.stage,
            reason: verdict.reason,
            fingerprint: verdict.fingerprint,
            stream: verdict.stream,
            seq: verdict.sequence,
            consumer: verdict.consumer,
            subject: verdict.subject,
            deliveries: verdict.deliveries,
            first_seen: verdict.first_seen,
            seen: verdict.seen,
            replays: verdict.replays,
        }
    }

    /// The same with the run its whole letter tells, where the headers did not.
    #[must_use]
    pub fn with_run_of(self, kept: &Kept) -> Self {
        let run_id = self.run_id.or_else(|| Self::read(kept).and_then(|whole| whole.run_id));
        Self { run_id, ..self }
    }
}

/// The run of a letter that does not name it: earlier builds left that to the reader.
fn run_of(kept: &Kept, place: &Place) -> Option<String> {
    let headers = original_headers(&kept.headers);
    dead_letter::run_of(place, &headers, &kept.payload, kept.schema.as_deref())
}

impl Row for Entry {
    fn headings() -> &'static [&'static str] {
        &["id", "state", "class", "stage", "subject", "run", "replays", "bytes", "first seen", "reason"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.as_str().to_owned(),
            self.class.to_string(),
            self.stage.to_string(),
            self.subject.clone(),
            self.run_id.clone().unwrap_or_else(|| "-".to_owned()),
            self.replays.to_string(),
            self.bytes.to_string(),
            self.first_seen.to_string(),
            self.reason.clone(),
        ]
    }
}

/// Entries of one fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Equal for equal faults.
    pub fingerprint: String,
    /// Class of the fault.
    pub class: FailureClass,
    /// Where it showed.
    pub stage: Stage,
    /// The reason of the sample.
    pub reason: String,
    /// How many entries there are.
    pub count: usize,
    /// When the stream took in the first message of the group.
    pub first_seen: Timestamp,
    /// When the stream took in the last one.
    pub last_seen: Timestamp,
    /// Id of the newest entry.
    pub sample: String,
}

impl Row for Group {
    fn headings() -> &'static [&'static str] {
        &["fingerprint", "count", "class", "stage", "first seen", "last seen", "sample", "reason"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.fingerprint.clone(),
            self.count.to_string(),
            self.class.to_string(),
            self.stage.to_string(),
            self.first_seen.to_string(),
            self.last_seen.to_string(),
            self.sample.clone(),
            self.reason.clone(),
        ]
    }
}

/// Entries by their fingerprint, one at a time; none is kept.
#[derive(Debug, Default)]
pub struct Groups(HashMap<String, Group>);

impl Groups {
    /// Takes the next entry, in the order of the queue.
    pub fn take(&mut self, entry: Entry) {
        self.add(Group {
            fingerprint: entry.fingerprint,
            class: entry.class,
            stage: entry.stage,
            reason: entry.reason,
            count: 1,
            first_seen: entry.first_seen,
            last_seen: entry.first_seen,
            sample: entry.id,
        });
    }

    /// Takes the groups of the entries that come next in the queue.
    pub fn append(&mut self, next: Self) {
        next.0.into_values().for_each(|group| self.add(group));
    }

    fn add(&mut self, next: Group) {
        let Some(group) = self.0.get_mut(&next.fingerprint) else {
            self.0.insert(next.fingerprint.clone(), next);
            return;
        };
        group.count += next.count;
        group.first_seen = group.first_seen.min(next.first_seen);
        group.last_seen = group.last_seen.max(next.last_seen);
        group.sample = next.sample;
        group.reason = next.reason;
    }

    /// The groups, the largest first.
    pub fn into_sorted(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.0.into_values().collect();
        groups.sort_by(|one, other| {
            other.count.cmp(&one.count).then_with(|| one.fingerprint.cmp(&other.fingerprint))
        });
        groups
    }
}

impl FromIterator<Entry> for Groups {
    fn from_iter<Entries: IntoIterator<Item = Entry>>(entries: Entries) -> Self {
        let mut groups = Self::default();
        entries.into_iter().for_each(|entry| groups.take(entry));
        groups
    }
}

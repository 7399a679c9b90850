//! What became of each entry a command acted on.

use serde::{Deserialize, Serialize};
use service_kit::output::Row;

use crate::entry::Entry;
use crate::selection::Named;
use crate::task::Counts;

/// What became of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Published, confirmed.
    Replayed,
    /// Dry run: it would be published.
    WouldReplay,
    /// Not published: it would die again.
    Invalid,
    /// Left alone.
    Skipped,
    /// Marked as not needed.
    Discarded,
    /// Dry run: it would be marked.
    WouldDiscard,
}

impl Outcome {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::WouldReplay => "would_replay",
            Self::Invalid => "invalid",
            Self::Skipped => "skipped",
            Self::Discarded => "discarded",
            Self::WouldDiscard => "would_discard",
        }
    }
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayResult {
    /// The entry.
    pub id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Of a dry run: `new`, `none` or `unsafe`; `invalid` for what would die again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<&'static str>,
    /// Why.
    pub reason: Option<String>,
    /// Sequence of the new message.
    pub sequence: Option<u64>,
    /// Place of the entry in the dead-letter stream.
    #[serde(skip)]
    pub kept_at: u64,
}

impl ReplayResult {
    /// What became of an entry, and why.
    pub fn new(entry: &Entry, outcome: Outcome, reason: Option<&str>) -> Self {
        Self::named(&entry.id, entry.kept_at, outcome, reason)
    }

    /// An entry whose letter the stream has dropped since it was named.
    pub(crate) fn gone(named: &Named) -> Self {
        let why = Some("its dead letter is no longer kept");
        Self::named(&named.id, named.kept_at, Outcome::Skipped, why)
    }

    /// An entry a bulk replay leaves to a person.
    pub(crate) fn left_out(entry: &Entry, why: &str) -> Self {
        let why = format!("unsafe: {why}; --unsafe, or its id, replays it");
        Self::new(entry, Outcome::Skipped, Some(&why))
    }

    /// The same for an entry of which only the name is known.
    pub fn named(id: &str, kept_at: u64, outcome: Outcome, reason: Option<&str>) -> Self {
        let reason = reason.map(str::to_owned);
        Self { id: id.to_owned(), outcome, effect: None, reason, sequence: None, kept_at }
    }
}

impl Row for ReplayResult {
    fn headings() -> &'static [&'static str] {
        &["id", "outcome", "effect", "sequence", "reason"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.outcome.as_str().to_owned(),
            self.effect.unwrap_or("-").to_owned(),
            self.sequence.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string()),
            self.reason.clone().unwrap_or_default(),
        ]
    }
}

/// How many came to which end.
pub(super) fn counts(results: &[ReplayResult]) -> Counts {
    let mut counts = Counts::default();
    for result in results {
        match result.outcome {
            Outcome::Replayed | Outcome::WouldReplay => counts.replayed += 1,
            Outcome::Invalid => counts.invalid += 1,
            Outcome::Skipped | Outcome::Discarded | Outcome::WouldDiscard => counts.skipped += 1,
        }
    }
    counts
}

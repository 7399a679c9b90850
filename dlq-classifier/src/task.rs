//! A replay as a task: what is to be done, how far it has come, and what may be asked of it.
//!
//! Pure. A task is one value in the broker, changed by compare-and-set only. Before a batch is published the task says
//! which entries it is about and where the stream ended ([`Batch`]); it says so until they are on record. Whoever finds a
//! task with a batch and nobody at work on it looks behind that place for what had been published, puts it on record, and
//! takes the batch away; the entries that are left are published by whoever goes on. So a message is published once,
//! wherever the program that published it was killed.

mod due;
mod plan;
mod stage;

use schemas::Timestamp;
use schemas::failure::bounded_head;
use serde::{Deserialize, Serialize};
use service_kit::error::CliError;

pub use plan::{Batch, Counts, Plan};
pub use stage::{Stage, Wish};

/// Tasks that are over and still listed.
pub const MAX_OVER: usize = 100;
/// Tasks that may wait at once, when another is put down for later.
pub const MAX_WAITING: usize = 1000;
/// Bytes kept of why a task failed.
const MAX_TROUBLE_BYTES: usize = 1024;

/// Why a task failed, as the command that asked for it says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What happened.
    pub what: String,
    /// The cause underneath.
    pub because: Option<String>,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name; later tasks have later names.
    pub id: String,
    /// Where it stands.
    pub stage: Stage,
    /// What is asked of it.
    pub wish: Wish,
    /// What is to be done.
    pub plan: Plan,
    /// Place in the dead-letter stream of the last entry that was looked at.
    pub cursor: u64,
    /// What is being published.
    pub batch: Option<Batch>,
    /// What has become of the entries so far.
    pub counts: Counts,
    /// Who is at work on it, or was last.
    pub owner: Option<String>,
    /// How often in a row it was left in the middle by a program that was killed, since the last batch that was settled.
    #[serde(default)]
    pub left: u32,
    /// When its last message went out: whoever goes on keeps its rate.
    #[serde(default)]
    pub sent: Option<Timestamp>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Why it failed.
    #[serde(default)]
    pub trouble: Option<Trouble>,
}

/// Why a task cannot do what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is {} already", .0.as_str())]
pub struct IsOver(pub Stage);

impl Task {
    /// A task nobody has begun.
    pub fn new(id: String, plan: Plan, now: Timestamp) -> Self {
        Self {
            id,
            stage: Stage::Queued,
            wish: Wish::Run,
            plan,
            cursor: 0,
            batch: None,
            counts: Counts::default(),
            owner: None,
            left: 0,
            sent: None,
            created: now,
            updated: now,
            trouble: None,
        }
    }

    /// Somebody begins, or goes on where another was killed.
    #[must_use]
    pub fn begin(self, owner: &str, now: Timestamp) -> Self {
        let is_left = self.stage == Stage::Running && self.owner.as_deref().is_some_and(|was| was != owner);
        let left = self.left + u32::from(is_left);
        Self { stage: Stage::Running, owner: Some(owner.to_owned()), left, updated: now, ..self }
    }

    /// Whoever is at work on it stops in good order, before it is done, or gives others their turn.
    #[must_use]
    pub fn let_go(self, now: Timestamp) -> Self {
        Self { owner: None, updated: now, ..self }
    }

    /// A batch is about to be published.
    #[must_use]
    pub fn intend(self, batch: Batch, now: Timestamp) -> Self {
        Self { batch: Some(batch), sent: Some(now), updated: now, ..self }
    }

    /// Every entry up to `cursor` was dealt with, and what was published is on record.
    #[must_use]
    pub fn settle(self, cursor: u64, counts: Counts, now: Timestamp) -> Self {
        let sent = self.batch.map_or(self.sent, |_| Some(now));
        let counts = self.counts.and(counts);
        Self { batch: None, cursor, counts, left: 0, sent, updated: now, ..self }
    }

    /// What had been published of the batch is on record; who goes on begins with its first entry.
    #[must_use]
    pub fn set_aside(self, now: Timestamp) -> Self {
        Self { batch: None, updated: now, ..self }
    }

    /// The stage in which a task that is asked to stop stops, between two batches.
    pub fn stops_in(&self) -> Option<Stage> {
        match self.wish {
            Wish::Run => None,
            Wish::Pause => Some(Stage::Paused),
            Wish::Cancel => Some(Stage::Cancelled),
        }
    }

    /// It stands still, or is over.
    #[must_use]
    pub fn rest(self, stage: Stage, now: Timestamp) -> Self {
        Self { stage, updated: now, ..self }
    }

    /// It cannot be done.
    #[must_use]
    pub fn fail(self, error: &CliError, now: Timestamp) -> Self {
        let bounded = |text: &String| bounded_head(text, MAX_TROUBLE_BYTES);
        let trouble = Trouble { what: bounded(&error.what), because: error.because.as_ref().map(bounded) };
        Self { stage: Stage::Failed, trouble: Some(trouble), updated: now, ..self }
    }

    /// Somebody asks something of it. One nobody has begun, or which stands, follows at once; one that is running follows
    /// when whoever is at work on it looks.
    ///
    /// # Errors
    /// It is over.
    pub fn ask(self, wish: Wish, now: Timestamp) -> Result<Self, IsOver> {
        if self.stage.is_over() {
            return Err(IsOver(self.stage));
        }
        let asked = Self { wish, updated: now, ..self };
        let stage = match (asked.stage, asked.stops_in()) {
            (Stage::Queued | Stage::Paused, Some(stage)) => stage,
            (Stage::Paused, None) => Stage::Queued,
            (stage, _) => stage,
        };
        Ok(Self { stage, ..asked })
    }

    /// How far it has come, in hundredths.
    pub fn percent(&self) -> u64 {
        if self.stage == Stage::Done {
            return 100;
        }
        self.cursor * 100 / self.plan.wanted.last().max(1)
    }
}

#[cfg(test)]
mod tests;

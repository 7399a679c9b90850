//! Alerts about the dead-letter queue: what is looked at, when a bound is crossed, and when that is over.
//!
//! Pure. An alert is raised at its bound and cleared only well below it, so that a value that wavers about the bound
//! says it once. The state of each is kept by the broker, so that a restart and a second classifier say nothing twice.

use std::time::Duration;

use schemas::Timestamp;
use schemas::subject::DLQ_ALERT_PREFIX;
use serde::{Deserialize, Serialize};

/// An alert is cleared at this part of its bound.
const CLEARED_AT: f64 = 0.8;

/// Least bound of an age in seconds: that of any entry is beyond it.
const LEAST_AGE: f64 = 1e-6;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Entries nobody has dealt with.
    Depth,
    /// How long the oldest of them has been there, in seconds.
    Age,
    /// Entries a minute.
    Rate,
    /// Part of the room of the dead-letter stream that is taken, 0 to 1. When it is full, letters are refused.
    Room,
    /// Entries nobody has dealt with that the stream drops soon.
    Expiring,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Depth, Self::Age, Self::Rate, Self::Room, Self::Expiring];

    /// The name on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Age => "age",
            Self::Rate => "rate",
            Self::Room => "room",
            Self::Expiring => "expiring",
        }
    }

    /// Key of its state in the bucket of the queue.
    pub fn key(self) -> String {
        format!("alert.{}", self.as_str())
    }

    /// Subject of its events.
    pub fn subject(self) -> String {
        format!("{DLQ_ALERT_PREFIX}{}", self.as_str())
    }
}

/// Is a bound crossed?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is.
    Crossed,
    /// Not any more.
    Cleared,
}

/// What is said of a change, to whoever listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub alert: Kind,
    /// What has become of it.
    pub state: State,
    /// What was found.
    pub value: f64,
    /// The bound.
    pub threshold: f64,
    /// When.
    pub at: Timestamp,
    /// The same for people, with what to do.
    pub message: String,
}

/// The bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// Entries nobody has dealt with.
    pub depth: u32,
    /// Age of the oldest.
    pub age: Duration,
    /// Entries a minute.
    pub rate: u32,
    /// Entries that leave the stream within this time are expiring.
    pub notice: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            depth: 100,
            age: Duration::from_secs(24 * 3600),
            rate: 60,
            notice: Duration::from_secs(3 * 24 * 3600),
        }
    }
}

impl Bounds {
    /// The bound of a kind, in the unit of its value.
    pub fn of(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Depth => f64::from(self.depth),
            // Without entries nothing has an age; with a bound of zero that would be crossed as well, and never cleared.
            Kind::Age => self.age.as_secs_f64().max(LEAST_AGE),
            Kind::Rate => f64::from(self.rate),
            Kind::Room => 0.8,
            Kind::Expiring => 1.0,
        }
    }
}

/// What has to be said about a value, given what was said last; `None` when nothing has changed.
pub fn judge(kind: Kind, said: State, value: f64, bounds: &Bounds, at: Timestamp) -> Option<Alert> {
    let threshold = bounds.of(kind);
    let state = match said {
        State::Cleared if value >= threshold => State::Crossed,
        State::Crossed if value < threshold * CLEARED_AT => State::Cleared,
        State::Cleared | State::Crossed => return None,
    };
    Some(Alert { alert: kind, state, value, threshold, at, message: message(kind, state, value, bounds) })
}

fn message(kind: Kind, state: State, value: f64, bounds: &Bounds) -> String {
    let days = |of: Duration| of.as_secs_f64() / 86_400.0;
    let hours = |seconds: f64| seconds / 3600.0;
    let what = match kind {
        Kind::Depth => format!("{value:.0} dead letters wait for somebody (bound {})", bounds.depth),
        Kind::Age => format!(
            "the oldest open dead letter is {:.1} hours old (bound {:.1})",
            hours(value),
            hours(bounds.age.as_secs_f64())
        ),
        Kind::Rate => format!("{value:.0} messages died within a minute (bound {})", bounds.rate),
        Kind::Room => format!("the dead-letter stream is {:.0} % full (bound 80)", value * 100.0),
        Kind::Expiring => {
            format!("{value:.0} open dead letters are dropped within {:.1} days", days(bounds.notice))
        }
    };
    match state {
        State::Cleared => format!("over: {what}"),
        State::Crossed => format!("{what}: {}", remedy(kind)),
    }
}

/// What to do.
fn remedy(kind: Kind) -> &'static str {
    match kind {
        Kind::Depth | Kind::Rate => "`dlq-classifier groups` shows the causes",
        Kind::Age => "`dlq-classifier list --state open` shows them, oldest first; replay or discard them",
        Kind::Room => {
            "from 95 % on letters are refused, and their messages wait; raise max_bytes of the stream CEREBROS_DLQ, or discard \
             and purge what was dealt with"
        }
        Kind::Expiring => {
            "replay or discard them, or raise max_age of the stream CEREBROS_DLQ; `dlq-classifier list --state open` shows them, oldest first"
        }
    }
}

#[cfg(test)]
mod tests;

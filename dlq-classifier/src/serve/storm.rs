//! The storm limit: when most of what comes is malformed, something else is wrong than the messages (a deployment, a
//! producer), and a queue full of them helps nobody. Beyond a limit the classifier stops: it settles nothing, publishes
//! no more letters, says that it is not ready and why, and sends an alert.
//!
//! It goes on when somebody says so (`dlq-classifier resume`), or when what comes is in order again. What came until
//! then is let through without being counted: it has to become dead letters in the end, and would stop it again.
//!
//! Pure but for [`guard`], which keeps the state where every classifier finds it: one that is started anew stays stopped, and
//! [`notice`], which tells others.

pub(crate) mod guard;
pub(crate) mod notice;

use schemas::Timestamp;
use serde::{Deserialize, Serialize};

/// The note the state is kept in.
pub(crate) const NOTE: &str = service_kit::dead_letter::STORM_NOTE;
/// Messages looked at to see whether what comes is in order again.
pub(super) const SAMPLE: u64 = 100;
/// Fewer than these say nothing.
const LEAST_SAMPLE: usize = 10;

/// How much is a storm.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Bounds {
    /// Stop after so many malformed messages in a row
    #[arg(long = "storm-consecutive", env = "CEREBROS_STORM_CONSECUTIVE", value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub consecutive: u32,
    /// Stop when more than this part of the last messages is malformed
    #[arg(long = "storm-ratio", env = "CEREBROS_STORM_RATIO", value_name = "RATIO", default_value_t = 0.5, value_parser = ratio)]
    pub ratio: f64,
    /// How many the last messages are
    #[arg(long = "storm-window", env = "CEREBROS_STORM_WINDOW", value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub window: u32,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| "a number between 0 and 1".to_owned())?;
    if ratio > 0.0 && ratio <= 1.0 { Ok(ratio) } else { Err("above 0, at most 1".to_owned()) }
}

/// Counts what is malformed among what comes.
#[derive(Debug)]
pub(super) struct Storm {
    bounds: Bounds,
    in_a_row: u32,
    /// The last messages, true for a malformed one; a ring.
    window: Vec<bool>,
    at: usize,
    malformed: u32,
    /// Messages up to here are let through.
    let_through: u64,
    /// Messages up to here were counted.
    through: u64,
}

/// Why a classifier stopped.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Why {
    pub(super) reason: String,
    pub(super) value: f64,
    pub(super) threshold: f64,
}

impl Storm {
    /// Nothing counted yet; what came until `through` never is.
    pub(super) fn new(bounds: Bounds, through: u64) -> Self {
        let window = Vec::with_capacity(usize::try_from(bounds.window).unwrap_or(usize::MAX));
        Self { bounds, in_a_row: 0, window, at: 0, malformed: 0, let_through: through, through }
    }

    /// Counts a message; says why to stop before it becomes a letter, if it is one too many. One that comes again is
    /// counted once.
    pub(super) fn seen(&mut self, sequence: u64, is_malformed: bool) -> Option<Why> {
        if sequence <= self.through {
            return None;
        }
        self.through = sequence;
        self.seen_late(sequence, is_malformed)
    }

    /// The same for a message others were counted before, and which is judged once only.
    pub(super) fn seen_late(&mut self, sequence: u64, is_malformed: bool) -> Option<Why> {
        if sequence <= self.let_through {
            return None;
        }
        self.in_a_row = if is_malformed { self.in_a_row + 1 } else { 0 };
        self.count(is_malformed);
        if !is_malformed {
            return None;
        }
        let size = self.bounds.window;
        let is_full = self.window.len() as u64 >= u64::from(size);
        let part = f64::from(self.malformed) / f64::from(size);
        if self.in_a_row > self.bounds.consecutive {
            let count = self.bounds.consecutive;
            let reason = format!("more than {count} messages in a row were malformed");
            Some(Why { reason, value: f64::from(self.in_a_row), threshold: f64::from(count) })
        } else if is_full && part > self.bounds.ratio {
            let reason = format!("{} of the last {size} messages were malformed", self.malformed);
            Some(Why { reason, value: part, threshold: self.bounds.ratio })
        } else {
            None
        }
    }

    fn count(&mut self, is_malformed: bool) {
        let size = usize::try_from(self.bounds.window).unwrap_or(usize::MAX);
        self.malformed += u32::from(is_malformed);
        if self.window.len() < size {
            self.window.push(is_malformed);
            return;
        }
        self.malformed -= u32::from(std::mem::replace(&mut self.window[self.at], is_malformed));
        self.at = (self.at + 1) % size;
    }
}

/// Whether a sample of what came shows that things are in order again: nine of ten are.
pub(super) fn is_in_order(sample: &[bool]) -> bool {
    let sound = sample.iter().filter(|is_sound| **is_sound).count();
    sample.len() >= LEAST_SAMPLE && sound * 10 >= sample.len() * 9
}

/// The state of the limit, as it is kept for all classifiers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Standing {
    /// Letters are written.
    Open {
        /// Messages up to here are let through.
        through: u64,
        /// Since when.
        at: Timestamp,
    },
    /// None are.
    Stopped {
        /// Why.
        reason: String,
        /// What was counted, and the bound it passed.
        value: f64,
        /// The bound.
        threshold: f64,
        /// The message that was one too many.
        sequence: u64,
        /// The last message of the stream at that moment.
        last: u64,
        /// Since when.
        at: Timestamp,
    },
}

impl Standing {
    /// Why no letters are written, if none are.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Open { .. } => None,
            Self::Stopped { reason, .. } => Some(reason),
        }
    }

    /// Whether a classifier that found this message to be one too many has nothing left to say: all have stopped already, or
    /// have gone on since, and let it through.
    pub(super) fn knows_of(&self, sequence: u64) -> bool {
        match self {
            Self::Open { through, .. } => *through >= sequence,
            Self::Stopped { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { consecutive: 5, ratio: 0.5, window: 10 };

    /// The number of the message, from 1 on, at which it stops.
    fn stops_at(storm: &mut Storm, messages: &[bool]) -> Option<usize> {
        let from = storm.through;
        messages.iter().zip(from + 1..).position(|(bad, at)| storm.seen(at, *bad).is_some()).map(|at| at + 1)
    }

    #[test]
    fn it_stops_at_the_message_after_the_bound_so_that_no_more_than_the_bound_become_letters() {
        assert_eq!(stops_at(&mut Storm::new(BOUNDS, 0), &[true; 9]), Some(6));
        let broken_by_one = [&[true; 5][..], &[false], &[true; 3]].concat();
        assert_eq!(stops_at(&mut Storm::new(BOUNDS, 0), &broken_by_one), None, "the window is not full yet");
    }

    #[test]
    fn it_stops_when_most_of_a_full_window_is_malformed() {
        let mixed: Vec<bool> = (0..40).map(|number| number >= 20 && number % 3 != 0).collect();
        let mut storm = Storm::new(BOUNDS, 0);
        assert_eq!(stops_at(&mut storm, &mixed), Some(29), "six of the last ten");
        let half: Vec<bool> = (0..40).map(|number| number % 2 == 0).collect();
        assert_eq!(stops_at(&mut Storm::new(BOUNDS, 0), &half), None, "half is not more than half");
    }

    #[test]
    fn what_comes_again_is_counted_once_and_what_is_let_through_never() {
        let mut storm = Storm::new(BOUNDS, 100);
        assert!((1..=100).all(|sequence| storm.seen(sequence, true).is_none()));
        assert!((0..50).all(|_| storm.seen(101, true).is_none()));
        assert_eq!(stops_at(&mut storm, &[true; 9]), Some(5));
    }

    #[test]
    fn a_classifier_that_stops_late_does_not_stop_those_that_have_gone_on_since() {
        let at = Timestamp::default();
        let open = Standing::Open { through: 60, at };
        assert_eq!([21, 60, 61].map(|sequence| open.knows_of(sequence)), [true, true, false]);
        let reason = "more than 20 messages in a row were malformed".to_owned();
        let stopped = Standing::Stopped { reason, value: 21.0, threshold: 20.0, sequence: 21, last: 60, at };
        assert!(stopped.knows_of(22) && stopped.knows_of(61), "it is said once");
    }

    #[test]
    fn a_sample_is_in_order_when_nine_of_ten_are_and_there_are_enough() {
        let sample = |sound: usize, of: usize| (0..of).map(|number| number < sound).collect::<Vec<_>>();
        assert!(is_in_order(&sample(9, 10)) && is_in_order(&sample(100, 100)));
        assert!(!is_in_order(&sample(9, 9)) && !is_in_order(&sample(89, 100)));
    }
}

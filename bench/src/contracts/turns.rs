//! What the rounds of several sides gave.

use std::fmt;
use std::time::Duration;

use service_kit::error::CliError;
use service_kit::exit::Exit;

use crate::table::{Figure, Unit};
use crate::timings::median;

/// Messages a second, by round, when every round publishes equally many.
#[derive(Debug, Clone)]
pub(super) struct Rates {
    count: u32,
    by_round: Vec<f64>,
}

impl Rates {
    /// None yet, of rounds of so many messages.
    pub(super) fn new(count: u32) -> Self {
        Self { count, by_round: Vec::new() }
    }

    /// Adds a round.
    pub(super) fn record(&mut self, took: Duration) {
        self.by_round.push(f64::from(self.count) / took.as_secs_f64());
    }

    /// The median of the rounds.
    pub(super) fn median(&self) -> Figure {
        Figure::new(median(&self.by_round).unwrap_or_default(), Unit::PerSecond)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds: Vec<String> = self.by_round.iter().map(|rate| format!("{rate:.0}")).collect();
        f.write_str(&rounds.join(" "))
    }
}

/// The broker took no trial.
pub(super) fn unpublished(error: &dyn std::error::Error) -> CliError {
    CliError::new("unpublished", Exit::Unreachable, "a trial was not published").because(error)
}

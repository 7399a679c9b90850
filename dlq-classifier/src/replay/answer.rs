//! The answer of a command that acts on entries: a row for each, printed as it comes about, counted and not kept.

use service_kit::error::CliError;
use service_kit::output::{Listing, Printer};

use super::{Outcome, ReplayResult};

/// An answer under way.
#[must_use = "an answer has to be ended"]
pub(crate) struct Answer {
    listing: Listing<ReplayResult>,
    /// Why nothing is printed any more. The work goes on: whoever has stopped to read has not asked it to stop.
    broken: Option<CliError>,
    sum: Sum,
}

/// What an answer came to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    counts: [u64; COUNTED.len()],
    /// The first row; the only one where one entry was named.
    pub(crate) first: Option<ReplayResult>,
}

/// The outcomes, in the order in which they are summed up.
const COUNTED: [Outcome; 4] = [Outcome::Replayed, Outcome::WouldReplay, Outcome::Invalid, Outcome::Skipped];

impl Answer {
    pub(crate) fn to(printer: Printer) -> Self {
        Self { listing: printer.listing(), broken: None, sum: Sum::default() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: ReplayResult) {
        self.sum.take(&row);
        if self.broken.is_none() {
            self.broken = self.listing.push(row).err();
        }
    }

    /// Prints what is left, and says what all of it came to.
    ///
    /// # Errors
    /// Not all of it could be printed.
    pub(crate) fn end(self) -> Result<Sum, CliError> {
        match self.broken {
            Some(error) => Err(error),
            None => self.listing.end().map(|()| self.sum),
        }
    }

    /// The same where the command failed: without a row nothing is printed.
    pub(crate) fn cut_off(self) {
        if self.sum.first.is_some()
            && let Err(error) = self.end()
        {
            tracing::debug!(%error, "the rows so far could not be printed");
        }
    }
}

impl Sum {
    fn take(&mut self, row: &ReplayResult) {
        if let Some(at) = COUNTED.iter().position(|outcome| *outcome == row.outcome) {
            self.counts[at] += 1;
        }
        if self.first.is_none() {
            self.first = Some(row.clone());
        }
    }

    /// How many came to this end.
    pub(crate) fn count(&self, wanted: Outcome) -> u64 {
        COUNTED.iter().zip(self.counts).find(|(outcome, _)| **outcome == wanted).map_or(0, |(_, count)| count)
    }

    /// How many came to which end, as one sentence.
    pub(crate) fn summary(&self) -> String {
        let counts = COUNTED.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        let counts = counts.map(|(outcome, count)| format!("{count} {}", outcome.as_str().replace('_', " ")));
        let text = counts.collect::<Vec<_>>().join(", ");
        if text.is_empty() { "no entry was selected".to_owned() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_counts_each_outcome_and_keeps_one_row() {
        let mut sum = Sum::default();
        assert_eq!(sum.summary(), "no entry was selected");
        for (place, outcome) in
            [Outcome::Invalid, Outcome::WouldReplay, Outcome::Invalid].into_iter().enumerate()
        {
            sum.take(&ReplayResult::named("e", place as u64, outcome, None));
        }
        assert_eq!(sum.summary(), "1 would replay, 2 invalid");
        assert_eq!(sum.first.unwrap().kept_at, 0);
    }
}

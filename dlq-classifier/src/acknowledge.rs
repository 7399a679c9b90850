//! `acknowledge`: a person who has looked into what an audit names, and knows why it is gone, answers for it.
//!
//! The record of it is all that is done, and all an audit goes by. It names exactly what is unexplained among the sequences
//! somebody gave: what is explained needs no answer, and what is on the stream can be handled still, so that an answer
//! would hide it. Whether there is room for the record the broker says itself.

use serde::Serialize;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;

use crate::audit::ranges::{Range, shown, total, united};
use crate::audit::{self, Left};
use crate::cli::AcknowledgeArgs;
use crate::operation::{Act, Answered, MAX_LOSSES, MAX_RANGES, Missing, Operation};
use crate::queue::Queue;
use crate::selection::actor;

/// Longest name of a consumer.
const MAX_NAME: usize = 255;
/// Ranges that are shown to people.
const MAX_SHOWN: usize = 20;
/// What helps who has named nothing, or too much.
const NAMES: &str = "`dlq-classifier audit` names what is unexplained";

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    #[serde(rename = "dry_run")]
    is_dry_run: bool,
    /// Messages that are answered for.
    acknowledged: u64,
    consumer: Option<String>,
    sequences: Vec<String>,
    losses: Vec<Missing>,
    left: Vec<Left>,
}

pub(crate) async fn run(args: AcknowledgeArgs) -> Result<Exit, CliError> {
    let reason = reason(args.reason.as_deref())?;
    let consumer = args.consumer.as_deref();
    check(&args.sequences, consumer)?;
    let wanted = united(args.sequences);
    let queue = Queue::open(&args.common.broker).await?;
    let found = audit::answerable(&queue, &wanted, consumer).await?;
    within(&wanted, found.last)?;
    bounded(&found.answered)?;
    let outcome = Outcome::of(args.dry_run, &found.answered, found.left);
    if !args.dry_run && !found.answered.is_empty() {
        let act = Act { actor: actor(), reason: Some(reason), filter: None };
        queue.record(&Operation::acknowledged(&act, clock::now(), found.answered)).await?;
    }
    args.common.output.printer().object(&outcome, |out| outcome.write(out))?;
    Ok(Exit::Done)
}

/// Why, which has to be said: it is all that is ever known of these messages.
fn reason(given: Option<&str>) -> Result<String, CliError> {
    given.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(|| {
        CliError::new("reason-missing", Exit::Usage, "acknowledge needs --reason").help(
            "say why these are gone, for whoever audits next: \
             `dlq-classifier acknowledge 40-99 --reason \"purged by hand, see ticket 7\"`",
        )
    })
}

fn check(sequences: &[Range], consumer: Option<&str>) -> Result<(), CliError> {
    if sequences.is_empty() {
        return Err(CliError::new("nothing-selected", Exit::Usage, "acknowledge needs sequences")
            .help(format!("write 42 or 40-99; {NAMES}")));
    }
    match consumer {
        Some(name) if name.is_empty() || name.len() > MAX_NAME => {
            let what = format!("--consumer has to be a name of 1 to {MAX_NAME} bytes");
            Err(CliError::new("consumer-invalid", Exit::Usage, what)
                .help(format!("{NAMES}, and the consumer beside it; for all of them leave --consumer out")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses what the stream has not got yet.
fn within(wanted: &[Range], last: u64) -> Result<(), CliError> {
    match wanted.last() {
        Some(range) if range.1 > last => {
            let what = format!("{} is beyond the stream, whose last sequence is {last}", shown(*range));
            Err(CliError::new("sequence-unknown", Exit::Usage, what).help(NAMES))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses what one record has no room for.
fn bounded(answered: &Answered) -> Result<(), CliError> {
    let too_many = |count: usize, what: &str, most: usize, upto: u64| {
        let what = format!("these are {count} {what}, and one record has room for {most}");
        let help = format!("acknowledge part by part; the first may go up to sequence {upto}");
        Err(CliError::new("too-many-ranges", Exit::Usage, what).help(help))
    };
    if let Some(next) = answered.ranges.get(MAX_RANGES) {
        return too_many(answered.ranges.len(), "ranges apart from each other", MAX_RANGES, next.0 - 1);
    }
    let mut ends: Vec<u64> = answered.losses.iter().map(|loss| loss.to).collect();
    ends.sort_unstable();
    match ends.get(MAX_LOSSES) {
        Some(next) => too_many(ends.len(), "losses", MAX_LOSSES, next.saturating_sub(1)),
        None => Ok(()),
    }
}

impl Outcome {
    fn of(is_dry_run: bool, answered: &Answered, left: Vec<Left>) -> Self {
        let lost: u64 = answered.losses.iter().map(|loss| loss.count).sum();
        Self {
            is_dry_run,
            acknowledged: total(&answered.ranges) + lost,
            consumer: answered.consumer.clone(),
            sequences: answered.ranges.iter().map(|range| shown(*range)).collect(),
            losses: answered.losses.clone(),
            left,
        }
    }

    /// For people.
    fn write(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let verb = if self.is_dry_run { "would be acknowledged" } else { "acknowledged" };
        writeln!(out, "{} {verb}", self.acknowledged)?;
        let (first, more) = self.sequences.split_at(self.sequences.len().min(MAX_SHOWN));
        if !first.is_empty() {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            writeln!(out, "  {}{more}", first.join(", "))?;
        }
        for loss in self.losses.iter().take(MAX_SHOWN) {
            writeln!(
                out,
                "  {} lost among {} at {}",
                loss.count,
                shown((loss.from, loss.to)),
                loss.consumer
            )?;
        }
        for Left { count, sequences, why } in &self.left {
            writeln!(out, "left alone {sequences}  ({count})\n  {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_record_has_room_for_is_refused_with_the_end_of_the_first_part() {
        let many = |count: usize| Answered {
            ranges: (1..=count as u64).map(|number| (10 * number, 10 * number + 1)).collect(),
            ..Answered::default()
        };
        assert!(bounded(&many(MAX_RANGES)).is_ok());
        let error = bounded(&many(MAX_RANGES + 1)).unwrap_err();
        let upto = 10 * (MAX_RANGES as u64 + 1) - 1;
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.help.unwrap().contains(&format!("up to sequence {upto}")));

        let loss = |number: u64| Missing {
            consumer: "sink".into(),
            from: number,
            to: number + 1,
            count: 1,
            found: clock::now(),
        };
        let losses = |count: usize| Answered {
            losses: (0..count as u64).rev().map(loss).collect(),
            ..Answered::default()
        };
        assert!(bounded(&losses(MAX_LOSSES)).is_ok());
        let help = bounded(&losses(MAX_LOSSES + 1)).unwrap_err().help.unwrap();
        assert!(help.contains(&format!("up to sequence {MAX_LOSSES}")), "{help}");
    }
}

//! `discard`: declares entries not needed. They stay where they are, marked, until the stream drops them by age.

use schemas::Timestamp;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::{clock, output};

use crate::cli::DiscardArgs;
use crate::entry::{Entry, State};
use crate::operation::{Act, MAX_IDS, Operation};
use crate::queue::Queue;
use crate::replay::{Outcome, ReplayResult};
use crate::selection::actor;

pub(crate) async fn run(args: DiscardArgs) -> Result<Exit, CliError> {
    args.selection.check("discard")?;
    let queue = Queue::open(&args.common.broker).await?;
    let book = queue.read().await?;
    let now = clock::now();
    let chosen = args.selection.resolve(&book, now)?;
    let is_bulk = args.selection.is_bulk();
    let (discarded, skipped): (Vec<&Entry>, Vec<&Entry>) =
        chosen.into_iter().partition(|entry| refusal(entry.state, is_bulk).is_none());
    let act = Act { actor: actor(), reason: args.reason, filter: args.selection.describe() };
    let mut results: Vec<ReplayResult> = Vec::new();
    for entry in skipped {
        results.push(ReplayResult::new(entry, Outcome::Skipped, refusal(entry.state, is_bulk)));
    }
    for entries in discarded.chunks(MAX_IDS) {
        let outcome = if args.dry_run {
            Outcome::WouldDiscard
        } else {
            mark(&queue, &act, now, entries).await?;
            Outcome::Discarded
        };
        results.extend(entries.iter().map(|entry| ReplayResult::new(entry, outcome, act.reason.as_deref())));
    }
    results.sort_by_key(|result| result.kept_at);
    args.common.output.printer().rows(&results)?;
    output::note(format_args!(
        "{} {}",
        discarded.len(),
        if args.dry_run { "would be discarded" } else { "discarded" }
    ));
    Ok(Exit::Done)
}

async fn mark(queue: &Queue, act: &Act, now: Timestamp, entries: &[&Entry]) -> Result<(), CliError> {
    let entries = entries.iter().map(|entry| (entry.id.clone(), entry.consumer.clone())).collect();
    queue.record(&Operation::discarded(act, now, entries)).await.map(drop)
}

/// Why an entry is left alone.
fn refusal(state: State, is_bulk: bool) -> Option<&'static str> {
    match state {
        State::Open => None,
        State::Discarded => Some("already discarded"),
        State::Replayed => Some("already replayed"),
        State::Quarantined if is_bulk => Some("quarantined: discard it by its id"),
        State::Quarantined => None,
    }
}

//! `purge`: removes dead letters somebody has dealt with from the dead-letter stream, each by its own sequence, so that no
//! open one goes along as it would with a purge by subject.
//!
//! Entries are found a bounded number at a time, and what was removed is put on record, which also proves to an audit that
//! there was a letter. The record is written after the letters are gone: killed in between, at most one record is missing
//! from the history, and the next purge goes on with what is left.

use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use schemas::Timestamp;
use schemas::subject::DLQ_STREAM;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::Listing;
use service_kit::{clock, history, output};

use crate::cli::PurgeArgs;
use crate::entry::{Entry, State};
use crate::operation::{Act, MAX_IDS, Operation};
use crate::queue::Queue;
use crate::selection::actor;

/// Entries that are found in one pass over the queue and then removed.
const PASS: usize = 10_000;
/// Letters that are being removed at once.
const AT_ONCE: usize = 50;

pub(crate) async fn run(args: PurgeArgs) -> Result<Exit, CliError> {
    if !args.dealt_with {
        return Err(CliError::new("nothing-selected", Exit::Usage, "purge needs --dealt-with").help(
            "only what was replayed or discarded is removed: `dlq-classifier purge --dealt-with --dry-run` shows what that means",
        ));
    }
    let queue = Queue::open(&args.common.broker).await?;
    let now = clock::now();
    let before = args.older.map_or(now, |older| older.resolve(now));
    let mut listing = args.common.output.printer().listing();
    let mut count = 0;
    if args.dry_run {
        queue
            .each(|entry| {
                if !is_removed(&entry, before) {
                    return Ok(());
                }
                count += 1;
                listing.push(entry)
            })
            .await?;
    } else {
        let filter = args.older.map(|_| format!("--dealt-with, given up before {before}"));
        let filter = Some(filter.unwrap_or_else(|| "--dealt-with".to_owned()));
        let act = Act { actor: actor(), reason: args.reason, filter };
        loop {
            let found = find(&queue, before).await?;
            let is_last = found.len() < PASS;
            count += remove(&queue, &act, found, &mut listing).await?;
            if is_last {
                break;
            }
        }
    }
    listing.end()?;
    output::note(format_args!("{count} {}", if args.dry_run { "would be removed" } else { "removed" }));
    Ok(Exit::Done)
}

fn is_removed(entry: &Entry, before: Timestamp) -> bool {
    matches!(entry.state, State::Replayed | State::Discarded) && entry.seen <= before
}

/// The oldest of what is to be removed, as many as one pass takes.
async fn find(queue: &Queue, before: Timestamp) -> Result<Vec<Entry>, CliError> {
    let mut found = Vec::new();
    queue
        .each(|entry| {
            if found.len() < PASS && is_removed(&entry, before) {
                found.push(entry);
            }
            Ok(())
        })
        .await?;
    Ok(found)
}

async fn remove(
    queue: &Queue,
    act: &Act,
    found: Vec<Entry>,
    listing: &mut Listing<Entry>,
) -> Result<usize, CliError> {
    let stream =
        queue.broker.jetstream.get_stream_no_info(DLQ_STREAM).await.map_err(|error| stuck(&error))?;
    let (count, mut found) = (found.len(), found.into_iter().peekable());
    while found.peek().is_some() {
        let entries: Vec<Entry> = found.by_ref().take(MAX_IDS).collect();
        let deletions = entries.iter().map(|entry| delete(&queue.broker, &stream, entry.kept_at));
        stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        let removed = entries.iter().map(|entry| (entry.id.clone(), entry.consumer.clone())).collect();
        queue.record(&Operation::purged(act, clock::now(), removed)).await?;
        entries.into_iter().try_for_each(|entry| listing.push(entry))?;
    }
    Ok(count)
}

/// Removes one letter, unless it is gone.
async fn delete(broker: &Broker, stream: &Stream<()>, kept_at: u64) -> Result<(), CliError> {
    match stream.delete_message(kept_at).await {
        Ok(_) => Ok(()),
        // Somebody else may have been faster, or the stream has dropped it.
        Err(_) if history::raw(broker, DLQ_STREAM, kept_at).await?.is_none() => Ok(()),
        Err(error) => Err(stuck(&error)),
    }
}

fn stuck(error: &dyn std::error::Error) -> CliError {
    CliError::new("purge-failed", Exit::Unreachable, "dead letters cannot be removed")
        .because(error)
        .help("is the broker up, and may we delete messages of CEREBROS_DLQ? Run the command again: it goes on with what is left")
}

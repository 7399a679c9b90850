//! The queue read by two at once, each on a thread and a connection of its own, and taken in order by one.
//!
//! Most of the time goes into taking the headers of letters apart, which the client library does where the connection is.
//! Whoever reads a letter also makes of it what is printed: headers read on one core are not in the cache of the other, and
//! what was allocated on one thread costs more to free on another.
//!
//! - Pages go round ([`plan`]): a reader begins its next page when one before it has been taken, so that nothing runs away
//!   from a slow reader of the output, and memory is bounded by a few pages.
//! - Which letter of an entry is told is decided in the order of the stream: what was told goes from reader to reader like a
//!   baton, and with it the right to tell a page ([`page`]).
//! - The first reader is the thread of the command with its own connection. The other is for speed only: where there is one
//!   core, little to read, or no second connection, the first reads alone, and the stream in one piece.

mod helper;
mod page;
mod plan;
mod reader;

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::Either;
use schemas::subject::DLQ_STREAM;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::history;
use tokio::sync::mpsc::{Receiver, channel};

use crate::entry::Entry;
use crate::fault;
use crate::queue::{Queue, warn_of};
use crate::standing::Told;
use plan::Plan;
use reader::{Reader, Step};

/// Letters of a page.
const PAGE: u64 = 2000;

/// What becomes of the entries, on the thread that has read them.
pub(crate) struct Work<Wanted, Make> {
    /// Whether an entry is wanted.
    pub(crate) is_wanted: Wanted,
    /// Makes something of the wanted ones of a page.
    pub(crate) make: Make,
}

/// Reads the queue and hands what is made of each page to `take`, in the order of the stream.
pub(crate) async fn read<Wanted, Make, Made>(
    queue: &Queue,
    args: &BrokerArgs,
    work: Work<Wanted, Make>,
    take: impl AsyncFnMut(Made) -> Result<(), CliError>,
) -> Result<(), CliError>
where
    Wanted: Fn(&Entry) -> bool + Send + Sync + 'static,
    Make: Fn(&mut dyn Iterator<Item = Entry>) -> Result<Made, CliError> + Send + Sync + 'static,
    Made: Send + 'static,
{
    let (work, standing) = (Arc::new(work), Arc::new(queue.standing().await?));
    let Some(extent) = history::extent(&queue.broker, DLQ_STREAM).await? else { return Ok(()) };
    let letters = fault::page_or(PAGE);
    let reader = |baton, out| Reader { work: Arc::clone(&work), standing: Arc::clone(&standing), baton, out };

    let ((to_first, at_first), (to_second, at_second)) = (channel(1), channel(1));
    let (out, made) = channel(1);
    let mut made = vec![made];
    // Nobody has told anything yet, and the first may begin.
    to_first.try_send(Told::default()).map_err(CliError::internal)?;
    let plan = Plan::of(extent, letters).filter(|_| has_cores());
    let helped = match plan {
        None => None,
        Some(plan) => {
            let (out, made) = channel(1);
            let second = reader((at_second, to_first.clone()), out);
            helper::start(args, second, extent, plan.turns(1, 2)).await.then_some((plan, made))
        }
    };
    tracing::debug!(readers = if helped.is_some() { 2 } else { 1 }, "reading the dead letters");
    let own = if let Some((plan, second_made)) = helped {
        made.push(second_made);
        let first = reader((at_first, to_second), out);
        Either::Left(first.stretches(&queue.broker, extent, plan.turns(0, 2)))
    } else {
        Either::Right(reader((at_first, to_first), out).whole(queue, letters))
    };
    let (mut own, mut taking) = (pin!(own), pin!(take_all(made, take)));
    tokio::select! {
        taken = &mut taking => return taken,
        () = &mut own => {}
    }
    taking.await
}

/// Takes a page of each reader in turns until all have ended.
async fn take_all<Made>(
    mut made: Vec<Receiver<Result<Step<Made>, CliError>>>,
    mut take: impl AsyncFnMut(Made) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let (readers, mut strangers) = (made.len(), 0);
    let (mut turn, mut ended) = (0, 0);
    // Where one has no page any more, no other has a later one.
    while ended < readers {
        match made[turn % readers].recv().await.unwrap_or_else(|| Err(lost()))? {
            Step::Page(made) => take(made).await?,
            Step::End { strangers: met } => (ended, strangers) = (ended + 1, strangers + met),
        }
        turn += 1;
    }
    warn_of(strangers);
    Ok(())
}

fn has_cores() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
}

fn lost() -> CliError {
    CliError::internal("a thread that reads the dead-letter stream has ended before its work")
        .help("this is a fault of ours: please report it with the lines above")
}

//! `resume`: tells the classifiers to go on that have stopped at their storm limit. What is on the stream by then is let
//! through: what of it is malformed becomes dead letters, however many.

use serde::Serialize;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::topology::DLQ_BUCKET;

use crate::cli::ResumeArgs;
use crate::fault;
use crate::operation::{Act, Operation};
use crate::queue::Queue;
use crate::selection::actor;
use crate::serve::notes::Notes;
use crate::serve::storm::guard::last_sequence;
use crate::serve::storm::notice::{Notice, tell};
use crate::serve::storm::{NOTE, Standing};

/// What came of it.
#[derive(Debug, Serialize)]
struct Resumed {
    /// False when nothing had stopped.
    resumed: bool,
    /// Why the classifiers had stopped.
    reason: Option<String>,
    /// Messages up to here are let through.
    through: Option<u64>,
}

pub(crate) async fn run(args: ResumeArgs) -> Result<Exit, CliError> {
    let queue = Queue::open(&args.common.broker).await?;
    let outcome = resume(&queue, args.reason).await?;
    args.common.output.printer().object(&outcome, |out| match (&outcome.reason, outcome.through) {
        (Some(reason), Some(through)) => {
            writeln!(out, "resumed: {reason}; everything up to {through} is let through")
        }
        _ => writeln!(out, "no classifier had stopped"),
    })?;
    Ok(Exit::Done)
}

async fn resume(queue: &Queue, reason: Option<String>) -> Result<Resumed, CliError> {
    let notes = Notes::open(&queue.broker, DLQ_BUCKET).await.map_err(unreachable)?;
    loop {
        let note = notes.read::<Standing>(NOTE).await.map_err(unreachable)?;
        let Some(stopped @ Standing::Stopped { .. }) = &note.said else {
            return Ok(Resumed { resumed: false, reason: None, through: None });
        };
        let through = last_sequence(&queue.broker).await.map_err(unreachable)?;
        let open = Standing::Open { through, at: clock::now() };
        tell(&queue.broker, Notice::Cleared, stopped, note.revision.unwrap_or_default())
            .await
            .map_err(unreachable)?;
        fault::at("storm-cleared");
        // Somebody else was faster: what holds now is looked at again.
        if notes.write(NOTE, &note, &open).await.map_err(unreachable)?.is_none() {
            continue;
        }
        let act = Act { actor: actor(), reason, filter: None };
        queue.record(&Operation::resumed(&act, clock::now(), through)).await?;
        return Ok(Resumed {
            resumed: true,
            reason: stopped.reason().map(str::to_owned),
            through: Some(through),
        });
    }
}

fn unreachable(reason: String) -> CliError {
    CliError::new(
        "resume-failed",
        Exit::Unreachable,
        "the state of the storm limit cannot be read or changed",
    )
    .because(reason)
    .help("is the broker up, and was a classifier started on it? `cerebros doctor` tells")
}

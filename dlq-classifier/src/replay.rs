//! `replay`: publishes dead messages again, repaired or as they were.
//!
//! A replay is a task ([`crate::task`]): it is put down in the broker before anything is published, and whoever has the
//! lease works on it, the terminal that asked for it or a classifier's `serve`. Tasks take turns between two batches
//! ([`engine`]). The order of effects is announce, publish, confirm, record; each is confirmed before the next, so a program
//! killed anywhere leaves behind what the next needs to publish every message once and to record all of them ([`recover`]).
//! Behind that stand the message ids and the gates of live traffic (the run registry, the ids of trials).

mod answer;
mod attend;
mod deliver;
mod desk;
mod draft;
mod effect;
mod engine;
mod in_order;
mod letters;
mod marks;
mod outlook;
mod pace;
mod predict;
mod prepare;
mod recover;
mod result;
mod same_run;
mod upcast;

use schemas::subject::DLQ_STREAM;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::shutdown::Shutdown;
use service_kit::{clock, output};

pub use draft::{Refusal, check, draft};
pub use effect::{Effect, World, effect};
pub use pace::Rate;
pub use result::{Outcome, ReplayResult};

pub(crate) use answer::{Answer, Sum};
pub(crate) use attend::{Attendance, owner};
pub(crate) use desk::{Desk, Held, Lease};
pub(crate) use engine::{Ended, Engine, Known};

use crate::cli::ReplayArgs;
use crate::edit::Edit;
use crate::operation::MAX_IDS;
use crate::queue::Queue;
use crate::selection::{Named, Wanted, Where, actor};
use crate::task::{Plan, Stage, Task};

pub(crate) async fn run(args: ReplayArgs, shutdown: Shutdown) -> Result<Exit, CliError> {
    args.selection.check("replay")?;
    draft::check_target(args.to.as_deref())?;
    let edit = Edit::from_flags(args.edit.clone(), args.patch.clone())?;
    let queue = Queue::open(&args.common.broker).await?;
    deliver::check_taken_in(&queue, args.to.as_deref()).await?;
    let wanted = wanted(&args, &queue).await?;
    let is_several = wanted.len() > 1 || wanted.iter().any(|wanted| wanted.is_bulk() || wanted.count() > 1);
    let plans = wanted.into_iter().map(|wanted| Plan {
        actor: actor(),
        reason: args.reason.clone(),
        filter: args.selection.describe(),
        wanted,
        to: args.to.clone(),
        edit: edit.clone(),
        rate: args.rate,
        takes_unsafe: args.takes_unsafe,
    });
    let mut answer = Answer::to(args.common.output.printer());
    let stopped = match carry_out(&args, &queue, &shutdown, plans, &mut answer).await {
        Ok(stopped) => stopped,
        Err(error) => {
            answer.cut_off();
            return Err(error);
        }
    };
    if args.detach && !args.dry_run {
        return Ok(Exit::Done);
    }
    let sum = answer.end()?;
    if let Some(task) = stopped {
        output::note(sum.summary());
        output::note(format_args!("the task {} is {}", task.id, task.stage.as_str()));
        // Somebody has ended it: the caller has not got what it asked for. Paused, it goes on some day.
        let otherwise = if task.stage == Stage::Cancelled { Exit::Unsuccessful } else { Exit::Done };
        return Ok(shutdown.interrupted().unwrap_or(otherwise));
    }
    conclude(&sum, is_several, args.dry_run)
}

/// One plan after the other; the task that rests before it is done, if one does.
async fn carry_out(
    args: &ReplayArgs,
    queue: &Queue,
    shutdown: &Shutdown,
    plans: impl Iterator<Item = Plan>,
    answer: &mut Answer,
) -> Result<Option<Task>, CliError> {
    for plan in plans {
        if args.dry_run {
            predict::predict(queue, &plan, answer).await?;
            continue;
        }
        let desk = Desk::open(&queue.broker).await?;
        if args.detach {
            desk.check_room().await?;
            let held = desk.put_down(plan).await?;
            args.common.output.printer().line(&held.task.id)?;
            continue;
        }
        // Before the task is there, so that no classifier is faster than the one who asked.
        let lease = desk.take_lease(&owner(&plan.actor)).await?;
        let held = desk.put_down(plan).await?;
        let mut attendance = Attendance::new(queue, &desk, shutdown, answer);
        let task = attendance.see(&held.task, lease).await?;
        if let Some(error) = attend::failure(&task) {
            return Err(error);
        }
        if task.stage != Stage::Done {
            return Ok(Some(task));
        }
    }
    Ok(None)
}

/// What is asked for, in parts a task can hold.
async fn wanted(args: &ReplayArgs, queue: &Queue) -> Result<Vec<Wanted>, CliError> {
    let now = clock::now();
    if args.selection.is_bulk() {
        let through = queue.last_sequence(DLQ_STREAM).await?;
        return Ok(vec![Wanted::Where(Where::new(&args.selection.filter, through, now))]);
    }
    let chosen = args.selection.named(queue).await?;
    let named = |entry: &crate::entry::Entry| Named { id: entry.id.clone(), kept_at: entry.kept_at };
    Ok(chosen.chunks(MAX_IDS).map(|part| Wanted::These(part.iter().map(named).collect())).collect())
}

/// The last word: counts for people, and an error when the one entry that was named could not be replayed. Of several, one
/// that would die again is a finding; what was replayed before is none, so that the same command may be run again. A dry
/// run has done what it was asked for, whatever it found.
fn conclude(sum: &Sum, is_several: bool, is_dry_run: bool) -> Result<Exit, CliError> {
    if is_several || is_dry_run {
        output::note(sum.summary());
        let is_finding = sum.count(Outcome::Invalid) > 0 && !is_dry_run;
        return Ok(if is_finding { Exit::Findings } else { Exit::Done });
    }
    let Some(only) = &sum.first else { return Ok(Exit::Done) };
    let reason = only.reason.clone().unwrap_or_default();
    match only.outcome {
        Outcome::Invalid => {
            let is_gone = reason == prepare::PAYLOAD_GONE;
            let error =
                CliError::new("replay-invalid", Exit::InvalidInput, format!("{} was not published", only.id))
                    .because(reason);
            // What is gone says its remedy itself.
            Err(if is_gone {
                error
            } else {
                error.help("repair it with --edit or --patch; `dlq-classifier show` prints what it holds")
            })
        }
        Outcome::Skipped => Err(CliError::new(
            "replay-refused",
            Exit::InvalidInput,
            format!("{} was not published", only.id),
        )
        .because(reason)
        .help("if its message died again, that is an entry of its own: `dlq-classifier list --state open`")),
        Outcome::Replayed | Outcome::WouldReplay | Outcome::Discarded | Outcome::WouldDiscard => {
            Ok(Exit::Done)
        }
    }
}

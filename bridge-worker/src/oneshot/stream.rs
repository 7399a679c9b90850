//! The events of a run on the stream, which are what everybody else sees of it: trials as they come, and what came of it.

use std::convert::Infallible;
use std::time::Duration;

use schemas::cloudevents::header;
use schemas::subject::STREAM;
use schemas::{Event, Record, RunId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};

use super::{Lines, Outcome, outcome_of};
use crate::plan::RunPlan;

/// Pause before the trials on the stream are followed again.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// Prints each trial as soon as the stream has it, for ever.
pub(super) async fn show(broker: &Broker, run: &RunId, first: u64, lines: &mut Lines) -> Infallible {
    let subjects = [Record::TrialReported.subject()];
    let mut from = first.max(1);
    loop {
        if !lines.are_wanted() {
            return std::future::pending().await;
        }
        if let Err(error) = show_from(broker, run, &subjects, &mut from, lines).await {
            tracing::debug!(error = error.what, "the trials on the stream cannot be followed, trying again");
        }
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

async fn show_from(
    broker: &Broker,
    run: &RunId,
    subjects: &[&str],
    from: &mut u64,
    lines: &mut Lines,
) -> Result<(), CliError> {
    let mut history = History::following(broker, STREAM, subjects, *from).await?;
    while let Some(kept) = history.next().await? {
        *from = kept.sequence + 1;
        if let Some(Event::TrialReported(trial)) = of_run(&kept, run)
            && !lines.show(&trial)
        {
            break;
        }
    }
    Ok(())
}

/// The event in a message, when it is one of this run; others are skipped by their header before they are decoded.
fn of_run(kept: &Kept, run: &RunId) -> Option<Event> {
    if kept.headers.get(header::RUN_ID) != Some(run.as_str()) {
        return None;
    }
    kept.decode().ok().map(|decoded| decoded.event)
}

/// What the stream has of the run, which is what everybody else sees of it.
pub(super) async fn told(
    broker: &Broker,
    plan: &RunPlan,
    first: u64,
    lines: &mut Lines,
) -> Result<Outcome, CliError> {
    let mut outcome = outcome_of(plan);
    let mut history = History::to_the_present(broker, STREAM, &[], first.max(1)).await?;
    while let Some(kept) = history.next().await? {
        let Some(event) = of_run(&kept, &plan.run_id) else { continue };
        outcome.take(&event);
        if let Event::TrialReported(trial) = &event {
            lines.show(trial);
        }
    }
    Ok(outcome)
}

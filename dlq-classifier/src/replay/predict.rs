//! `--dry-run`: what a replay would do to each entry; nothing is published. One letter is held at a time.
//!
//! Which of the trials are on the stream already is asked of the stream once, before: the letters of trials are gone
//! through twice, so that no row has to wait for the end.

use schemas::Record;
use service_kit::clock;
use service_kit::error::CliError;

use super::letters::{Letters, Next};
use super::marks::Marks;
use super::outlook::Outlook;
use super::prepare::{Prepared, prepare};
use super::{Answer, Outcome, ReplayResult};
use crate::entry::Entry;
use crate::queue::Queue;
use crate::task::Plan;

pub(super) async fn predict(queue: &Queue, plan: &Plan, answer: &mut Answer) -> Result<(), CliError> {
    let mut marks = Marks::default();
    marks.read(&queue.broker).await?;
    let mut outlook = Outlook::new(&queue.broker);
    ask_for_trials(queue, plan, &marks, &mut outlook).await?;
    let mut letters = Letters::of(&queue.broker, &plan.wanted, 0, clock::now());
    loop {
        let result = match letters.next(&marks).await? {
            Next::Letter(entry, letter) => match prepare(plan, &entry, &letter)? {
                Ok(prepared) => outcome(plan, &mut outlook, &entry, &prepared).await?,
                Err(refused) => refused,
            },
            Next::Gone(named) => ReplayResult::gone(&named),
            Next::End => return Ok(()),
        };
        let effect = if result.outcome == Outcome::Invalid { Some("invalid") } else { result.effect };
        answer.push(ReplayResult { effect, ..result });
    }
}

/// Lets the outlook find the trials that a replay would publish.
async fn ask_for_trials(
    queue: &Queue,
    plan: &Plan,
    marks: &Marks,
    outlook: &mut Outlook,
) -> Result<(), CliError> {
    let trial = Record::TrialReported.subject();
    let mut letters = Letters::of(&queue.broker, &plan.wanted, 0, clock::now());
    match plan.to.as_deref() {
        None => letters = letters.that_came_on(trial),
        Some(to) if to == trial => {}
        Some(_) => return Ok(()),
    }
    loop {
        match letters.next(marks).await? {
            Next::Letter(entry, letter) => {
                if let Ok(prepared) = prepare(plan, &entry, &letter)? {
                    outlook.ask(&entry, &prepared).await?;
                }
            }
            Next::Gone(_) => {}
            Next::End => return outlook.look_up().await,
        }
    }
}

async fn outcome(
    plan: &Plan,
    outlook: &mut Outlook,
    entry: &Entry,
    prepared: &Prepared,
) -> Result<ReplayResult, CliError> {
    let result = outlook.predict(entry, prepared, plan.takes_all()).await?;
    if result.effect == Some("unsafe") && !plan.takes_all() {
        let why = result.reason.unwrap_or_default();
        return Ok(ReplayResult { effect: Some("unsafe"), ..ReplayResult::left_out(entry, &why) });
    }
    Ok(result)
}

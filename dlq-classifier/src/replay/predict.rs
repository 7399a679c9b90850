//! `--dry-run`: what a replay would do to each entry; nothing is published. One letter is held at a time.

use service_kit::clock;
use service_kit::error::CliError;

use super::letters::{Letters, Next};
use super::marks::Marks;
use super::outlook::Outlook;
use super::prepare::{Prepared, prepare};
use super::{Outcome, ReplayResult};
use crate::entry::Entry;
use crate::queue::Queue;
use crate::task::Plan;

pub(super) async fn predict(queue: &Queue, plan: &Plan) -> Result<Vec<ReplayResult>, CliError> {
    let marks = Marks::read(&queue.broker, "").await?;
    let mut letters = Letters::of(&queue.broker, &plan.wanted, 0, clock::now());
    let mut outlook = Outlook::new(&queue.broker);
    let mut results = Vec::new();
    loop {
        let result = match letters.next(&marks).await? {
            Next::Letter(entry, letter) => match prepare(plan, &entry, &letter)? {
                Ok(prepared) => outcome(plan, &mut outlook, &entry, &prepared, results.len()).await?,
                Err(refused) => refused,
            },
            Next::Gone(named) => ReplayResult::gone(&named),
            Next::End => break,
        };
        let effect = if result.outcome == Outcome::Invalid { Some("invalid") } else { result.effect };
        results.push(ReplayResult { effect, ..result });
    }
    outlook.close(&mut results).await?;
    Ok(results)
}

async fn outcome(
    plan: &Plan,
    outlook: &mut Outlook,
    entry: &Entry,
    prepared: &Prepared,
    row: usize,
) -> Result<ReplayResult, CliError> {
    let result = outlook.predict(entry, prepared, row, plan.takes_all()).await?;
    if result.effect == Some("unsafe") && !plan.takes_all() {
        let why = result.reason.unwrap_or_default();
        return Ok(ReplayResult { effect: Some("unsafe"), ..ReplayResult::left_out(entry, &why) });
    }
    Ok(result)
}

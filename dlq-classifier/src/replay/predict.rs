//! `--dry-run`: what a replay would do to each entry; nothing is published. A part at a time, because payloads are held
//! meanwhile.

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

/// Entries whose payloads a dry run holds at once.
const AT_ONCE: usize = 100;

pub(super) async fn predict(queue: &Queue, plan: &Plan) -> Result<Vec<ReplayResult>, CliError> {
    let marks = Marks::read(&queue.broker, "").await?;
    let mut letters = Letters::of(&queue.broker, &plan.wanted, 0, clock::now());
    let mut results = Vec::new();
    let mut is_over = false;
    while !is_over {
        let mut ready: Vec<(Entry, Prepared)> = Vec::new();
        while ready.len() < AT_ONCE {
            match letters.next(&marks).await? {
                Next::Letter(entry, letter) => match prepare(plan, &entry, &letter)? {
                    Ok(prepared) => ready.push((*entry, prepared)),
                    Err(row) => results.push(row),
                },
                Next::Gone(named) => {
                    let why = Some("its dead letter is no longer kept");
                    results.push(ReplayResult::named(&named.id, named.kept_at, Outcome::Skipped, why));
                }
                Next::End => {
                    is_over = true;
                    break;
                }
            }
        }
        let outlook = Outlook::read(&queue.broker, &ready).await?;
        results.extend(ready.iter().map(|(entry, prepared)| outlook.predict(entry, prepared, clock::now())));
    }
    results.sort_by_key(|result| result.kept_at);
    Ok(results)
}

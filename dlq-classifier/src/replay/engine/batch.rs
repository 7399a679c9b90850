//! The next entries of a task, and what is to be published for each: as many as go out in a second, as fit into memory,
//! and as are prepared in a second.

use std::time::{Duration, Instant};

use service_kit::error::CliError;

use super::Work;
use crate::entry::Entry;
use crate::replay::letters::Next;
use crate::replay::prepare::{Prepared, prepare};
use crate::replay::{Outcome, ReplayResult};
use crate::selection::Named;

/// Most messages in a batch: what a program that is killed has not put on record.
const MAX_MESSAGES: usize = 100;
/// Most entries in a batch, with those nothing is published for.
const MAX_ROWS: usize = 1000;
/// Most of both together.
pub(in crate::replay) const MOST_IN_A_BATCH: usize = MAX_MESSAGES + MAX_ROWS;
/// Most bytes of payloads in a batch, up to the last of them.
const MAX_BYTES: usize = 8 << 20;
/// Longest time a batch is prepared.
const LONGEST: Duration = Duration::from_secs(1);

/// An entry that is ready to be published.
pub(super) struct Ready {
    pub(super) entry: Entry,
    pub(super) prepared: Prepared,
}

impl Ready {
    pub(super) fn named(&self) -> Named {
        Named { id: self.entry.id.clone(), kept_at: self.entry.kept_at }
    }
}

/// The next entries.
pub(super) struct Gathered {
    /// Those nothing is published for any more.
    pub(super) rows: Vec<ReplayResult>,
    /// Those that are to be published.
    pub(super) ready: Vec<Ready>,
    /// Place of the last of them.
    pub(super) cursor: u64,
    /// True if there are no more.
    pub(super) is_last: bool,
}

impl Work<'_> {
    pub(super) async fn gather(&mut self) -> Result<Gathered, CliError> {
        self.marks.refresh(&self.engine.queue.broker).await?;
        let plan = self.held.task.plan.clone();
        let messages = plan.rate.map_or(MAX_MESSAGES, |rate| rate.in_a_second().min(MAX_MESSAGES));
        let cursor = self.held.task.cursor;
        let mut gathered = Gathered { rows: Vec::new(), ready: Vec::new(), cursor, is_last: false };
        let (began, mut bytes) = (Instant::now(), 0);
        while gathered.ready.len() < messages
            && gathered.rows.len() < MAX_ROWS
            && bytes < MAX_BYTES
            && began.elapsed() < LONGEST
        {
            let (entry, letter) = match self.letters.next(self.marks).await? {
                Next::Letter(entry, letter) => (entry, letter),
                Next::Gone(named) => {
                    gathered.cursor = named.kept_at;
                    gathered.rows.push(ReplayResult::gone(&named));
                    continue;
                }
                Next::End => {
                    gathered.cursor = plan.wanted.last();
                    gathered.is_last = true;
                    break;
                }
            };
            gathered.cursor = entry.kept_at;
            if let Some(sequence) = self.marks.replayed_by(&self.held.task.id, &entry.id) {
                // Published by somebody who was killed before the task said so.
                let row = ReplayResult::new(&entry, Outcome::Replayed, None);
                gathered.rows.push(ReplayResult { sequence: Some(sequence.get()), ..row });
                continue;
            }
            let prepared = match prepare(&plan, &entry, &letter)? {
                Ok(prepared) => prepared,
                Err(row) => {
                    gathered.rows.push(row);
                    continue;
                }
            };
            if !plan.takes_all()
                && let Some(why) = self.outlook.objection(&prepared).await?
            {
                gathered.rows.push(ReplayResult::left_out(&entry, &why));
                continue;
            }
            bytes += prepared.draft.payload.len();
            gathered.ready.push(Ready { entry: *entry, prepared });
        }
        Ok(gathered)
    }
}

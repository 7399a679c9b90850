//! One batch: announced, published, confirmed, put on record, and settled. Where it is cut off, [`crate::replay::recover`]
//! goes on.

use schemas::Timestamp;
use schemas::subject::STREAM;
use service_kit::clock;
use service_kit::error::CliError;

use super::Work;
use super::batch::{Gathered, Ready};
use crate::edit::Edit;
use crate::fault;
use crate::operation::{Operation, Refused, Replay};
use crate::replay::deliver::{self, Delivered, deliver};
use crate::replay::{Outcome, ReplayResult, result};
use crate::task::Batch;

impl Work<'_> {
    /// Publishes a batch and puts it on record; false when somebody else is at work on the task.
    pub(super) async fn carry_out(&mut self, gathered: Gathered) -> Result<bool, CliError> {
        let Gathered { mut rows, ready, mut cursor, .. } = gathered;
        let mut replays = Vec::new();
        if !ready.is_empty() {
            fault::at("before-intent");
            if !self.announce(&ready).await? {
                return Ok(false);
            }
            if self.held.task.stops_in().is_some() {
                let is_ours = self.change(|task| task.set_aside(clock::now())).await?;
                self.open_letters();
                return Ok(is_ours);
            }
            fault::at("after-intent");
        }
        let mut failed = None;
        for (number, ready) in ready.iter().enumerate() {
            if number == 0 {
                self.pace.restart();
            } else {
                self.pace.wait().await;
                if !self.lease.keep().await? {
                    return Ok(false);
                }
                if self.engine.shutdown.is_draining() {
                    cursor = ready.entry.kept_at - 1;
                    break;
                }
            }
            match deliver(self.engine.queue, self.lease, &ready.entry, &ready.prepared.draft).await {
                // Whoever has the lease now finds what went out before, and puts it on record.
                Ok(None) => return Ok(false),
                Ok(Some(delivered)) => rows.push(self.take(ready, delivered, &mut replays)),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            fault::at(&format!("after-publish-{}", number + 1));
        }
        rows.retain(|row| row.kept_at <= cursor);
        rows.sort_by_key(|row| row.kept_at);
        // What the broker confirmed is put on record whatever ended the batch.
        self.record(replays, &rows).await?;
        fault::at("after-record");
        if let Some(error) = failed {
            return Err(error);
        }
        let counts = result::counts(&rows);
        let is_ours = self.change(|task| task.settle(cursor, counts, clock::now())).await?;
        fault::at("after-settle");
        // Whoever has taken the task over goes through this batch again, and puts on record what became of it.
        if is_ours {
            (self.rows)(&self.held.task, rows);
        }
        Ok(is_ours)
    }

    /// Says in the task which entries are about to be published.
    async fn announce(&mut self, ready: &[Ready]) -> Result<bool, CliError> {
        let edit = self.held.task.plan.edit.as_ref().map_or(0, |edit| edit.text().len());
        self.engine.queue.check_room(ready.len(), edit).await?;
        let to = self.held.task.plan.to.clone();
        let stream = match &to {
            Some(to) => deliver::stream_of(self.engine.queue, to).await?,
            None => Some(STREAM.to_owned()),
        };
        let after = match stream {
            Some(stream) => self.engine.queue.last_sequence(&stream).await?,
            None => 0,
        };
        let batch = Batch { entries: ready.iter().map(Ready::named).collect(), after };
        self.change(|task| task.intend(batch.clone(), clock::now())).await
    }

    /// The row of an entry that was handed to the broker, and its record.
    fn take(&self, ready: &Ready, delivered: Delivered, replays: &mut Vec<Replay>) -> ReplayResult {
        let (entry, prepared) = (&ready.entry, &ready.prepared);
        let replay = |sequence: u64, subject: &str, message_id: String, edited: bool| Replay {
            id: entry.id.clone(),
            consumer: entry.consumer.clone(),
            kept_at: entry.kept_at,
            sequence,
            subject: subject.to_owned(),
            message_id,
            edited,
            upcast: prepared.upcast_from.is_some(),
            named_run: prepared.named_run.clone(),
        };
        match delivered {
            Delivered::Refused(why) => ReplayResult::new(entry, Outcome::Invalid, Some(&why)),
            Delivered::Otherwise { kept, message_id } => {
                replays.push(replay(kept.sequence, &kept.subject, message_id, true));
                let why = format!("it was published before with another edit, as sequence {}", kept.sequence);
                ReplayResult::new(entry, Outcome::Skipped, Some(&why))
            }
            Delivered::Published { sequence, message_id, was_there } => {
                replays.push(replay(sequence, &prepared.draft.subject, message_id, prepared.is_edited));
                let known = was_there.then(|| "the broker had it already".to_owned());
                let raised =
                    prepared.upcast_from.map(|from| format!("of version {from}, written in today's"));
                let named = prepared.named_run.as_ref().map(|run| format!("it names its run {run} now"));
                let said: Vec<String> = [known, raised, named].into_iter().flatten().collect();
                let said = (!said.is_empty()).then(|| said.join("; "));
                ReplayResult {
                    sequence: Some(sequence),
                    ..ReplayResult::new(entry, Outcome::Replayed, said.as_deref())
                }
            }
        }
    }

    async fn record(&mut self, replays: Vec<Replay>, rows: &[ReplayResult]) -> Result<(), CliError> {
        let refused = |row: &&ReplayResult| {
            self.engine.is_followed && matches!(row.outcome, Outcome::Invalid | Outcome::Skipped)
        };
        let refused: Vec<Refused> = rows.iter().filter(refused).map(Refused::of).collect();
        if replays.is_empty() && refused.is_empty() {
            return Ok(());
        }
        let task = &self.held.task;
        let edit = task.plan.edit.as_ref().map(Edit::text);
        let at: Timestamp = clock::now();
        let operation = Operation::replayed(&task.plan.act(), at, replays).of_task(&task.id, edit.as_deref());
        let operation = Operation { refused, ..operation };
        self.engine.queue.record(&operation).await?;
        self.marks.take(&operation);
        Ok(())
    }
}

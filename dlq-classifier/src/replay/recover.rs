//! What a replay that was killed had published and not put on record: looked up on the stream it went to, behind the place
//! where that stream ended before, so that it does not matter how long ago that was.

use std::collections::{BTreeSet, HashMap};

use schemas::cloudevents::header;
use schemas::dead_letter::{Place, REPLAY_OF, Verdict};
use schemas::subject::DLQ_STREAM;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::history::{self, History, Kept};

use super::desk::{Desk, Held, Lease};
use super::marks::Marks;
use super::prepare::finish;
use super::{deliver, draft};
use crate::edit::Draft;
use crate::entry::{Entry, State};
use crate::fault;
use crate::operation::{Operation, Replay};
use crate::queue::Queue;
use crate::task::{Batch, Task};

/// Puts on record what the tasks in `all` have published and nobody has recorded; false when somebody else has the lease.
pub(super) async fn recover(
    queue: &Queue,
    desk: &Desk,
    lease: &mut Lease,
    all: Vec<Held>,
    marks: &mut Marks,
    ours: &str,
) -> Result<bool, CliError> {
    // Also where the lease was given up: a message nobody confirmed may still be on its way.
    if all.iter().any(|held| held.task.batch.is_some()) && !lease.raise_once().await? {
        return Ok(false);
    }
    marks.read(&queue.broker).await?;
    for held in all {
        let Some(batch) = held.task.batch.clone() else { continue };
        let found = published(queue, &held.task, &batch, marks).await?;
        tracing::info!(
            task = held.task.id,
            found = found.len(),
            "a replay was killed; going through its batch"
        );
        if !found.is_empty() {
            let edit = held.task.plan.edit.as_ref().map(crate::edit::Edit::text);
            let operation = Operation::replayed(&held.task.plan.act(), clock::now(), found)
                .of_task(&held.task.id, edit.as_deref());
            if let Err(error) = queue.record(&operation).await {
                if held.task.id == ours {
                    return Err(error);
                }
                // Another's record that cannot be written stops nobody else; what it is to say is known meanwhile.
                tracing::warn!(task = held.task.id, %error, "what a replay has published is not on record yet");
                marks.suppose(&operation);
                continue;
            }
            marks.take(&operation);
            fault::at("recorded-for-another");
        }
        let is_same = |task: &Task| task.batch.as_ref() == Some(&batch);
        desk.change(held, |task| is_same(&task).then(|| task.set_aside(clock::now()))).await?;
    }
    Ok(true)
}

/// The entries of a batch that are on the stream and not on record.
async fn published(
    queue: &Queue,
    task: &Task,
    batch: &Batch,
    marks: &Marks,
) -> Result<Vec<Replay>, CliError> {
    let mut looked_for = HashMap::new();
    for named in &batch.entries {
        if marks.of(&named.id).is_some_and(|mark| mark.state == State::Replayed) {
            continue;
        }
        let Some(letter) = history::at(&queue.broker, DLQ_STREAM, named.kept_at).await? else { continue };
        let Some(entry) = Entry::read(&letter).filter(|entry| entry.id == named.id) else { continue };
        let draft = draft(&entry, &letter, task.plan.to.as_deref());
        looked_for.insert(named.id.clone(), (entry, draft, letter));
    }
    let subjects: BTreeSet<String> =
        looked_for.values().map(|(_, draft, _): &(Entry, Draft, Kept)| draft.subject.clone()).collect();
    let mut found = Vec::new();
    for subject in subjects {
        let Some(stream) = deliver::stream_of(queue, &subject).await? else { continue };
        let mut history =
            History::to_the_present(&queue.broker, &stream, &[&subject], batch.after + 1).await?;
        while let Some(kept) = history.next().await? {
            let named = kept.headers.get(REPLAY_OF).and_then(|id| looked_for.get(id));
            let Some((entry, draft, letter)) =
                named.filter(|(entry, draft, _)| is_replay(&kept, entry, draft))
            else {
                continue;
            };
            found.push(replay(task, entry, draft, letter, &kept));
            looked_for.remove(&found[found.len() - 1].id);
            if looked_for.is_empty() {
                break;
            }
        }
    }
    found.sort_by_key(|replay: &Replay| replay.kept_at);
    Ok(found)
}

/// True if a message that says so is the replay of an entry: it has one of the ids a replay has.
fn is_replay(kept: &Kept, entry: &Entry, draft: &Draft) -> bool {
    let id = kept.headers.get(header::MESSAGE_ID);
    id == draft.headers.get(header::MESSAGE_ID) || id == Some(&draft::own_message_id(entry))
}

/// The record of a replay, read from what was published. What programs do to every message is no edit.
fn replay(task: &Task, entry: &Entry, original: &Draft, letter: &Kept, kept: &Kept) -> Replay {
    let is_edit = task.plan.edit.is_some();
    let as_asked = finish(original.clone(), &task.plan, letter).ok();
    let unchanged = as_asked.as_ref().filter(|(draft, ..)| draft.payload == kept.payload);
    let is_changed = kept.payload != original.payload;
    // Nobody else comes to think of that run, and whatever an edit left without one was made to name it.
    let run = place_of(letter).map(|place| place.derived_run());
    let is_named = kept.decode().is_ok_and(|decoded| decoded.event.run_id() == run.as_ref());
    Replay {
        id: entry.id.clone(),
        consumer: entry.consumer.clone(),
        kept_at: entry.kept_at,
        sequence: kept.sequence,
        subject: kept.subject.clone(),
        message_id: kept.headers.get(header::MESSAGE_ID).unwrap_or_default().to_owned(),
        edited: is_edit && is_changed && unchanged.is_none(),
        upcast: !is_edit && unchanged.map_or(is_changed, |(_, upcast_from, _)| upcast_from.is_some()),
        named_run: run.filter(|_| is_named),
    }
}

fn place_of(letter: &Kept) -> Option<Place> {
    Verdict::read(&letter.headers).map(|verdict| verdict.place())
}

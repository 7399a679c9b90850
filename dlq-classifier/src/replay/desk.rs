//! The tasks in the broker, and the lease of whoever is at work: one at a time, so that what one batch has published is on
//! record before the next is made up, and the same replay asked for twice publishes once.

mod lease;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history;
use service_kit::topology::{self, DLQ_BUCKET};

pub(crate) use lease::Lease;

use crate::task::{MAX_OVER, MAX_WAITING, Plan, Task};

/// Prefix of the keys of tasks.
const TASK: &str = "task.";
/// Compare-and-set races lost in a row before a change gives up; each loss means somebody else made progress.
const MAX_RACES: usize = 16;

/// The bucket.
#[derive(Clone)]
pub(crate) struct Desk {
    broker: Broker,
    bucket: kv::Store,
    /// Revision of somebody else's lease, and since when it stands.
    seen: Arc<Mutex<Option<(u64, Instant)>>>,
    /// The last change of a task that was seen, and the one since which all of them rest.
    last: u64,
    settled_at: u64,
}

/// A task as it was read or written last.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) task: Task,
    revision: u64,
}

impl Desk {
    /// Opens the bucket, and makes it on a broker that no service of this version has seen.
    pub(crate) async fn open(broker: &Broker) -> Result<Self, CliError> {
        let jetstream = &broker.jetstream;
        let bucket = match jetstream.get_key_value(DLQ_BUCKET).await {
            Ok(bucket) => bucket,
            Err(missing) => {
                let ours = topology::buckets().into_iter().find(|bucket| bucket.bucket == DLQ_BUCKET);
                let ours = ours.ok_or_else(|| unavailable(&missing))?;
                jetstream.create_key_value(ours).await.map_err(|error| unavailable(&error))?
            }
        };
        Ok(Self { broker: broker.clone(), bucket, seen: Arc::default(), last: 0, settled_at: 0 })
    }

    /// Puts a task down for whoever takes it.
    pub(crate) async fn put_down(&self, plan: Plan) -> Result<Held, CliError> {
        for race in 0..MAX_RACES {
            let now = clock::now();
            // Two in one microsecond: the second takes the next.
            let id = format!("{:014x}", now.micros() + i64::try_from(race).unwrap_or(0));
            let task = Task::new(id, plan.clone(), now);
            match self.bucket.create(key(&task.id), value(&task).into()).await {
                Ok(revision) => return Ok(Held { task, revision }),
                Err(error) if error.kind() == kv::CreateErrorKind::AlreadyExists => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(unavailable(&"every name for the task is taken"))
    }

    /// Refuses a task for later while too many wait.
    pub(crate) async fn check_room(&self) -> Result<(), CliError> {
        let waiting = self.all().await?.iter().filter(|held| !held.task.stage.is_over()).count();
        if waiting < MAX_WAITING {
            return Ok(());
        }
        let what = format!("{waiting} replays wait already");
        Err(CliError::new("tasks-full", Exit::InvalidInput, what)
            .help("is a classifier running? `dlq-classifier tasks cancel ID` takes one away"))
    }

    /// A task by its name.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<Held>, CliError> {
        let entry = self.bucket.entry(key(id)).await.map_err(|error| unavailable(&error))?;
        let entry = entry.filter(|entry| entry.operation == kv::Operation::Put);
        Ok(entry.and_then(|entry| read(&entry.key, &entry.value, entry.revision)))
    }

    /// Every task, oldest first.
    pub(crate) async fn all(&self) -> Result<Vec<Held>, CliError> {
        let mut all = history::last_values(&self.broker, DLQ_BUCKET, TASK, |key, value| {
            read(key.trim_start_matches(TASK), &value.payload, value.sequence)
        })
        .await?;
        all.sort_unstable_by(|one, other| one.task.id.cmp(&other.task.id));
        Ok(all)
    }

    /// Changes a task in one step; `decide` is asked again when somebody else was faster, and may find that there is
    /// nothing left to change.
    pub(crate) async fn change(
        &self,
        held: Held,
        mut decide: impl FnMut(Task) -> Option<Task>,
    ) -> Result<Option<Held>, CliError> {
        let (id, mut held) = (held.task.id.clone(), Some(held));
        for _ in 0..MAX_RACES {
            let Some(Held { task, revision }) = held else { return Ok(None) };
            let Some(task) = decide(task) else { return Ok(None) };
            match self.bucket.update(key(&id), value(&task).into(), revision).await {
                Ok(revision) => return Ok(Some(Held { task, revision })),
                Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {
                    held = self.get(&id).await?;
                }
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(unavailable(&"the task changes faster than it can be written"))
    }

    /// False while nobody has touched a task since all of them rested. One small question, so that it can be asked often.
    pub(crate) async fn has_changed(&mut self) -> Result<bool, CliError> {
        let stream = self.broker.jetstream.get_stream_no_info(format!("KV_{DLQ_BUCKET}")).await;
        let stream = stream.map_err(|error| unavailable(&error))?;
        let last = match stream.get_last_raw_message_by_subject(&format!("$KV.{DLQ_BUCKET}.{TASK}>")).await {
            Ok(message) => message.sequence,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => 0,
            Err(error) => return Err(unavailable(&error)),
        };
        self.last = last;
        Ok(last != self.settled_at)
    }

    /// All tasks rest, as of the last [`Desk::has_changed`].
    pub(crate) fn has_settled(&mut self) {
        self.settled_at = self.last;
    }

    /// Forgets the oldest of the tasks that are over.
    pub(crate) async fn tidy(&self, all: &[Held]) -> Result<(), CliError> {
        let over: Vec<&Held> =
            all.iter().filter(|held| held.task.stage.is_over() && !held.task.is_waiting()).collect();
        let stream = self.broker.jetstream.get_stream_no_info(format!("KV_{DLQ_BUCKET}")).await;
        let stream = stream.map_err(|error| unavailable(&error))?;
        for held in over.iter().take(over.len().saturating_sub(MAX_OVER)) {
            let subject = format!("$KV.{DLQ_BUCKET}.{}", key(&held.task.id));
            stream.purge().filter(subject).await.map_err(|error| unavailable(&error))?;
        }
        Ok(())
    }
}

fn key(id: &str) -> String {
    format!("{TASK}{id}")
}

fn value(task: &Task) -> Vec<u8> {
    serde_json::to_vec(task).expect("a task is plain data")
}

/// A task in a value; one that cannot be read (written by a stranger) counts as absent, and is said.
fn read(name: &str, value: &[u8], revision: u64) -> Option<Held> {
    let task = serde_json::from_slice(value)
        .inspect_err(|error| tracing::error!(name, %error, "a task in the broker cannot be read"))
        .ok()?;
    Some(Held { task, revision })
}

fn unavailable(error: &dyn std::fmt::Display) -> CliError {
    CliError::new("tasks-unavailable", Exit::Unreachable, "the tasks in the broker cannot be read or changed")
        .because(error)
        .help("is the broker up? `cerebros doctor` tells")
}

//! Replays nobody is at work on: asked for with `--detach`, or left by a terminal that was closed.

mod resting;

use std::time::{Duration, Instant};

use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::shutdown::Shutdown;

use crate::queue::Queue;
use crate::replay::{Desk, Ended, Engine, owner};
use crate::selection::actor;
use crate::task::{Counts, Stage, Task};
use resting::Resting;

/// How often it is looked for a task.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a task in hand may take to come to rest at the drain; cut off, it goes on elsewhere as after a crash.
const GRACE: Duration = Duration::from_secs(2);
/// Tries that a task may fail while the broker answers and has room, before it is given up.
const MAX_TRIES: u32 = 5;

pub(super) async fn run(broker: Broker, shutdown: Shutdown) {
    let mut helper =
        Helper { queue: Queue::on(&broker), desk: None, owner: owner(&actor()), resting: Resting::default() };
    while !shutdown.is_draining() {
        let cut_off = async {
            shutdown.drain().await;
            tokio::time::sleep(GRACE).await;
        };
        let looked = tokio::select! {
            looked = helper.look(&shutdown) => looked,
            () = cut_off => return,
        };
        match looked {
            // There may be more.
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a replay is not carried out yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.drain() => {}
        }
    }
}

struct Helper {
    queue: Queue,
    desk: Option<Desk>,
    owner: String,
    resting: Resting,
}

impl Helper {
    /// Works on the oldest task nobody is at work on; false if there is none.
    async fn look(&mut self, shutdown: &Shutdown) -> Result<bool, CliError> {
        let desk = match &mut self.desk {
            Some(desk) => desk,
            None => self.desk.insert(Desk::open(&self.queue.broker).await?),
        };
        if !desk.has_changed().await? {
            return Ok(false);
        }
        let mut waiting = desk.all().await?;
        waiting.retain(|held| held.task.is_waiting());
        self.resting.keep(|id| waiting.iter().any(|held| held.task.id == id));
        if waiting.is_empty() {
            desk.has_settled();
        }
        let now = Instant::now();
        let next = waiting.into_iter().find(|held| !self.resting.is_resting(&held.task.id, now));
        let Some(waiting) = next else { return Ok(false) };
        let Some(mut lease) = desk.take_lease(&self.owner).await? else { return Ok(false) };
        let id = waiting.task.id;
        let engine = Engine { queue: &self.queue, desk, shutdown, is_followed: true };
        let ended = engine.work(&mut lease, &id, &mut |_, _| {}).await;
        if let Err(error) = &ended
            && self.queue.broker.is_connected()
        {
            let faults = self.resting.rest(&id, error.exit != Exit::Full, Instant::now());
            if faults >= MAX_TRIES
                && let Some(held) = desk.get(&id).await?
            {
                desk.change(held, |task| Some(task.fail(error, clock::now()))).await?;
            }
        }
        if !matches!(ended, Ok(Ended::Rests(_) | Ended::Overtaken)) && self.queue.broker.is_connected() {
            // Not left in the middle: it was the broker, or the drain.
            let is_ours =
                |task: &Task| task.stage == Stage::Running && task.owner.as_ref() == Some(&self.owner);
            if let Some(held) = desk.get(&id).await? {
                desk.change(held, |task| is_ours(&task).then(|| task.let_go(clock::now()))).await?;
            }
        }
        lease.give_up().await;
        if let Ended::Rests(task) = ended? {
            said(&task);
        }
        Ok(true)
    }
}

fn said(task: &Task) {
    let Counts { replayed, invalid, skipped } = task.counts;
    let (id, state) = (&task.id, task.stage.as_str());
    tracing::info!(task = id, state, replayed, invalid, skipped, "a replay was carried out");
}

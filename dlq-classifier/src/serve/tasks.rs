//! Replays nobody is at work on: asked for with `--detach`, or left by a terminal that was closed.

use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::shutdown::Shutdown;

use crate::queue::Queue;
use crate::replay::{Desk, Ended, Engine, owner};
use crate::selection::actor;
use crate::task::{Counts, Task};

/// How often it is looked for a task.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a task in hand may take to come to rest at the drain; cut off, it goes on elsewhere as after a crash.
const GRACE: Duration = Duration::from_secs(2);
/// Tries in a row that a task may fail while the broker answers, before it is given up: others wait behind it.
const MAX_TRIES: u32 = 5;

pub(super) async fn run(broker: Broker, shutdown: Shutdown) {
    let mut helper = Helper { queue: Queue::on(&broker), desk: None, owner: owner(&actor()), tries: None };
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
    /// The task that failed last, and how often.
    tries: Option<(String, u32)>,
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
        let waiting = desk.all().await?.into_iter().find(|held| held.task.is_waiting());
        let Some(waiting) = waiting else {
            desk.has_settled();
            return Ok(false);
        };
        let Some(mut lease) = desk.take_lease(&self.owner).await? else { return Ok(false) };
        let id = waiting.task.id;
        let engine = Engine { queue: &self.queue, desk, shutdown, is_followed: true };
        let ended = engine.work(&mut lease, &id, &mut |_, _| {}).await;
        if let Err(error) = &ended
            && self.queue.broker.is_connected()
        {
            let tries = self.tries.take().filter(|(task, _)| *task == id).map_or(1, |(_, tries)| tries + 1);
            self.tries = Some((id.clone(), tries));
            if tries >= MAX_TRIES
                && let Some(held) = desk.get(&id).await?
            {
                desk.change(held, |task| Some(task.fail(error, clock::now()))).await?;
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

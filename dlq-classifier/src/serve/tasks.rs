//! Replays nobody is at work on: asked for with `--detach`, left by a terminal that was closed, or let go by one for others.
//! They take turns, between two batches, under one lease.

mod resting;
mod turns;

use std::time::{Duration, Instant};

use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::shutdown::Shutdown;

use crate::queue::Queue;
use crate::replay::{Desk, Ended, Engine, Known, Lease, owner};
use crate::selection::actor;
use crate::task::{Counts, Stage, Task};
use resting::Resting;
use turns::Turns;

/// How often it is looked for a task.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a task in hand may take to come to rest at the drain; cut off, it goes on elsewhere as after a crash.
const GRACE: Duration = Duration::from_secs(2);
/// Tries that a task may fail while the broker answers and has room, before it is given up.
const MAX_TRIES: u32 = 5;

pub(super) async fn run(broker: Broker, shutdown: Shutdown) {
    let mut helper = Helper {
        queue: Queue::on(&broker),
        desk: None,
        owner: owner(&actor()),
        resting: Resting::default(),
        turns: Turns::default(),
        hand: None,
    };
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
        helper.give_up().await;
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.drain() => {}
        }
    }
    helper.give_up().await;
}

struct Helper {
    queue: Queue,
    desk: Option<Desk>,
    owner: String,
    resting: Resting,
    turns: Turns,
    /// The lease between two turns, and what is known by then.
    hand: Option<(Lease, Known)>,
}

impl Helper {
    /// Works on the task whose turn it is, of those nobody is at work on; false if there is none.
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
        let waits = |id: &str| waiting.iter().any(|held| held.task.id == id);
        self.resting.keep(waits);
        self.turns.keep(waits);
        if waiting.is_empty() {
            desk.has_settled();
        }
        let resting = self.resting.names(Instant::now());
        let able = waiting.iter().map(|held| &held.task).filter(|task| !resting.contains(&task.id));
        if able.clone().next().is_none() {
            return Ok(false);
        }
        let (mut lease, mut known) = match self.hand.take() {
            Some(hand) => hand,
            None => match desk.take_lease(&self.owner).await? {
                Some(lease) => (lease, Known::default()),
                None => return Ok(false),
            },
        };
        if !lease.keep().await? {
            return Ok(false);
        }
        let Some(id) = self.turns.next(able, clock::now()).map(|task| task.id.clone()) else {
            return Ok(false);
        };
        let (queue, passes_over) = (&self.queue, &|id: &str| resting.contains(id));
        let engine = Engine { queue, desk, shutdown, is_followed: true, passes_over };
        let ended = engine.work(&mut lease, &mut known, &id, &mut |_, _| {}).await;
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
        if !matches!(ended, Ok(Ended::Rests(_) | Ended::LetGo { .. } | Ended::Overtaken))
            && self.queue.broker.is_connected()
        {
            // Not left in the middle: it was the broker, or the drain.
            let is_ours =
                |task: &Task| task.stage == Stage::Running && task.owner.as_ref() == Some(&self.owner);
            if let Some(held) = desk.get(&id).await? {
                desk.change(held, |task| is_ours(&task).then(|| task.let_go(clock::now()))).await?;
            }
        }
        if matches!(ended, Ok(Ended::Rests(_) | Ended::LetGo { .. })) {
            self.hand = Some((lease, known));
        } else {
            // Also where somebody else has it by now: then nothing comes of it.
            lease.give_up().await;
        }
        if let Ended::Rests(task) = ended? {
            said(&task);
        }
        Ok(true)
    }

    /// Nobody's turn here: others go on at once.
    async fn give_up(&mut self) {
        if let Some((lease, _)) = self.hand.take() {
            lease.give_up().await;
        }
    }
}

fn said(task: &Task) {
    let Counts { replayed, invalid, skipped } = task.counts;
    let (id, state) = (&task.id, task.stage.as_str());
    tracing::info!(task = id, state, replayed, invalid, skipped, "a replay was carried out");
}

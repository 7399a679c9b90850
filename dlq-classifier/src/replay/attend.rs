//! The terminal beside its task: at work on it as soon as nobody else is at work, and following it otherwise. What it
//! prints is the same.

mod gap;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use service_kit::shutdown::{Hold, Shutdown};

use super::desk::{Desk, Held, Lease};
use super::engine::{Ended, Engine, Known};
use super::{Answer, ReplayResult, marks};
use crate::queue::Queue;
use crate::task::{Stage, Task, Wish};
use gap::Turn;

/// How often a task that others work on is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After so many looks a person is told what is waited for.
const QUIET_LOOKS: u32 = 10;

/// A terminal and its task.
pub(crate) struct Attendance<'a> {
    pub(crate) queue: &'a Queue,
    pub(crate) desk: &'a Desk,
    pub(crate) shutdown: &'a Shutdown,
    answer: &'a mut Answer,
    /// Place in the queue up to which the answer has the rows of the task.
    told: u64,
    bar: ProgressBar,
    turn: Turn,
    known: Known,
    /// While nobody has come for whom the task was let go: an interrupt still pauses it.
    hold: Option<Hold>,
}

impl<'a> Attendance<'a> {
    pub(crate) fn new(
        queue: &'a Queue,
        desk: &'a Desk,
        shutdown: &'a Shutdown,
        answer: &'a mut Answer,
    ) -> Self {
        let (bar, turn, known) = (ProgressBar::hidden(), Turn::default(), Known::default());
        Self { queue, desk, shutdown, answer, told: 0, bar, turn, known, hold: None }
    }

    /// Stays with a task until it rests, and answers what becomes of its entries, oldest first.
    pub(crate) async fn see(&mut self, task: &Task, lease: Option<Lease>) -> Result<Task, CliError> {
        self.bar = progress(task);
        let owner = owner(&task.plan.actor);
        let mut lease = lease;
        let mut looks = 0;
        let ended = loop {
            if let Some(lease) = lease.take()
                && let Some(task) = self.work(lease, &task.id).await?
            {
                break task;
            }
            let held = self.desk.get(&task.id).await?.ok_or_else(|| gone(&task.id))?;
            self.bar.set_position(held.task.cursor);
            if held.task.stage.is_over() || held.task.stage == Stage::Paused {
                break held.task;
            }
            if held.task.owner.is_some() {
                self.hold = None;
            }
            if self.shutdown.is_draining() {
                if self.hold.is_some() {
                    break self.pause(held).await?;
                }
                output::note(format_args!(
                    "the replay goes on without this terminal: `dlq-classifier tasks show {}`",
                    task.id
                ));
                break held.task;
            }
            if looks == QUIET_LOOKS && held.task.stage == Stage::Queued {
                output::note(format_args!(
                    "{} waits for others to finish: `dlq-classifier tasks` lists them",
                    task.id
                ));
            }
            looks += 1;
            if self.turn.is_ours(&held.task) {
                lease = self.desk.take_lease(&owner).await?;
            }
            if let Some(lease) = &lease {
                self.turn.begins(lease.found);
            }
            if lease.is_none() {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = self.shutdown.drain() => {}
                }
            }
        };
        self.bar.finish_and_clear();
        self.catch_up(&ended).await?;
        Ok(ended)
    }

    /// Works on the task; `None` if somebody else does.
    async fn work(&mut self, mut lease: Lease, id: &str) -> Result<Option<Task>, CliError> {
        let hold = self.shutdown.hold("the record of the replays");
        if let Some(held) = self.desk.get(id).await? {
            self.catch_up(&held.task).await?;
        }
        let turn = &self.turn;
        let engine = Engine {
            queue: self.queue,
            desk: self.desk,
            shutdown: self.shutdown,
            is_followed: false,
            passes_over: &|id| turn.passes_over(id, Instant::now()),
        };
        let (answer, told, bar) = (&mut *self.answer, &mut self.told, &self.bar);
        let mut taken = |task: &Task, rows: Vec<ReplayResult>| {
            bar.set_position(task.cursor);
            *told = task.cursor;
            bar.suspend(|| rows.into_iter().for_each(|row| answer.push(row)));
        };
        let ended = engine.work(&mut lease, &mut self.known, id, &mut taken).await;
        // Also where somebody else has it by now: then nothing comes of it.
        let left = lease.give_up().await;
        match ended? {
            Ended::Rests(task) => Ok(Some(task)),
            Ended::Drained(held) => self.pause(held).await.map(Some),
            Ended::LetGo { task, others } => {
                self.turn.ends(&task, others, left);
                self.hold = Some(hold);
                Ok(None)
            }
            Ended::Overtaken => Ok(None),
        }
    }

    /// Whoever interrupts a replay they watch wants it to stop.
    async fn pause(&self, held: Held) -> Result<Task, CliError> {
        let task = held.task.clone();
        let pause = |task: Task| {
            task.ask(Wish::Pause, clock::now()).ok().map(|task| task.rest(Stage::Paused, clock::now()))
        };
        let Some(paused) = self.desk.change(held, pause).await? else { return Ok(task) };
        output::note(format_args!("paused: `dlq-classifier tasks continue {}` goes on", task.id));
        Ok(paused.task)
    }

    /// Answers what others put on record while they were at work on the task.
    async fn catch_up(&mut self, task: &Task) -> Result<(), CliError> {
        if self.told >= task.cursor {
            return Ok(());
        }
        let answer = &mut *self.answer;
        marks::each_row(&self.queue.broker, &task.id, self.told, |row| answer.push(row)).await?;
        self.told = task.cursor;
        Ok(())
    }
}

/// A name for whoever works at this terminal, or in this process, that no other has.
pub(crate) fn owner(actor: &str) -> String {
    format!("{actor}, process {} since {}", std::process::id(), clock::now().micros())
}

/// The exit and the error of a task that ended badly.
pub(super) fn failure(task: &Task) -> Option<CliError> {
    let trouble = task.trouble.as_ref().filter(|_| task.stage == Stage::Failed)?;
    let error = CliError::new("replay-failed", Exit::InvalidInput, &trouble.what);
    Some(match &trouble.because {
        Some(because) => error.because(because),
        None => error,
    })
}

fn gone(id: &str) -> CliError {
    CliError::new("task-gone", Exit::NotFound, format!("the task {id} is no longer there"))
        .because("somebody has removed it from the bucket of the dead-letter queue")
}

/// A bar on a terminal, nothing anywhere else, nor for a single entry.
fn progress(task: &Task) -> ProgressBar {
    let is_single = matches!(&task.plan.wanted, crate::selection::Wanted::These(named) if named.len() < 2);
    if !is_single && std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("{wide_bar} {percent} %").expect("the template is fixed");
        ProgressBar::new(task.plan.wanted.last()).with_style(style)
    } else {
        ProgressBar::hidden()
    }
}

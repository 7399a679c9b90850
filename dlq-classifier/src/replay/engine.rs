//! Carries out a task: batch by batch, each announced before it is published and put on record before the next
//! ([`crate::task`]). The same at the terminal and in the service.

mod batch;
mod carry;
mod known;

use std::time::{Duration, Instant};

pub(super) use batch::MOST_IN_A_BATCH;
pub(crate) use known::Known;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::shutdown::Shutdown;

use super::desk::{Desk, Held, Lease};
use super::letters::Letters;
use super::marks::Marks;
use super::outlook::Outlook;
use super::pace::Pace;
use super::recover::recover;
use super::{ReplayResult, draft};
use crate::queue::Queue;
use crate::task::{Stage, Task};

/// A wait between two messages is cut into pieces of this length, to hear what is asked meanwhile; so often it is looked
/// whether others wait for their turn.
const HEARS_EVERY: Duration = Duration::from_secs(1);

/// How the work on a task ended.
pub(crate) enum Ended {
    /// It is over, or stands still because it was told to.
    Rests(Task),
    /// The program is to end; the task is as it was left.
    Drained(Held),
    /// Others have their turn; the task was let go, and goes on as if it waited.
    LetGo {
        /// As it was left.
        task: Task,
        /// Those it was let go for.
        others: Vec<String>,
    },
    /// Somebody else is at work on it.
    Overtaken,
}

/// Where the rows of a task go as soon as it has moved behind them, with the task as it stands.
pub(crate) type Rows<'a> = dyn FnMut(&Task, Vec<ReplayResult>) + Send + 'a;

/// Someone at work.
pub(crate) struct Engine<'a> {
    pub(crate) queue: &'a Queue,
    pub(crate) desk: &'a Desk,
    pub(crate) shutdown: &'a Shutdown,
    /// True if whoever asked for the task reads of its entries on record only.
    pub(crate) is_followed: bool,
    /// True of a task no other is let go for.
    pub(crate) passes_over: &'a (dyn Fn(&str) -> bool + Sync),
}

impl Engine<'_> {
    /// Works on a task until it rests or it is the turn of others, after putting on record what others left behind.
    pub(crate) async fn work(
        &self,
        lease: &mut Lease,
        known: &mut Known,
        id: &str,
        rows: &mut Rows<'_>,
    ) -> Result<Ended, CliError> {
        let all = self.desk.all().await?;
        self.desk.tidy(&all).await?;
        if !recover(self.queue, self.desk, lease, all, &mut known.marks, id).await? {
            return Ok(Ended::Overtaken);
        }
        let Some(held) = self.desk.get(id).await? else { return Ok(Ended::Overtaken) };
        if held.task.stage.is_over() {
            return Ok(Ended::Rests(held.task));
        }
        let owner = lease.owner.clone();
        let begin = |task: Task| (!task.stage.is_over()).then(|| task.begin(&owner, clock::now()));
        let Some(held) = self.desk.change(held, begin).await? else { return Ok(Ended::Overtaken) };
        if let Some(error) = held.task.is_deadly() {
            self.desk.change(held, |task| Some(task.fail(&error, clock::now()))).await?;
            return Err(error);
        }
        let plan = &held.task.plan;
        let letters = known
            .letters(id, held.task.cursor)
            .unwrap_or_else(|| Letters::of(&self.queue.broker, &plan.wanted, held.task.cursor, clock::now()));
        let pace = Pace::new(plan.rate, held.task.wait(clock::now()));
        let outlook = Outlook::new(&self.queue.broker);
        let (marks, looked) = (&mut known.marks, Instant::now());
        let mut work = Work { engine: self, lease, held, marks, letters, outlook, pace, looked, rows };
        let ended = work.run().await;
        match ended {
            // What passes: somebody goes on with the task when the broker is back, or has room.
            Err(error) if !matches!(error.exit, Exit::Unreachable | Exit::Full) => {
                work.change(|task| task.fail(&error, clock::now())).await?;
                Err(error)
            }
            Ok(Ended::LetGo { .. }) => {
                let letters = work.letters;
                known.keep(id, letters);
                ended
            }
            ended => ended,
        }
    }
}

struct Work<'a> {
    engine: &'a Engine<'a>,
    lease: &'a mut Lease,
    held: Held,
    marks: &'a mut Marks,
    letters: Letters,
    outlook: Outlook,
    pace: Pace,
    /// When it was looked last whether others wait for their turn.
    looked: Instant,
    rows: &'a mut Rows<'a>,
}

/// What was heard before a batch.
enum Heard {
    Nothing,
    Drain,
    /// It is the turn of these.
    Others(Vec<String>),
    LeaseLost,
}

impl Work<'_> {
    async fn run(&mut self) -> Result<Ended, CliError> {
        // What is read from the broker was checked by whoever wrote it, if that was a program of ours.
        draft::check_target(self.held.task.plan.to.as_deref())?;
        loop {
            match self.hear().await? {
                Heard::Nothing => {}
                Heard::Drain => return Ok(Ended::Drained(self.held.clone())),
                Heard::LeaseLost => return Ok(Ended::Overtaken),
                Heard::Others(others) => return self.let_go(others).await,
            }
            if let Some(stage) = self.held.task.stops_in() {
                return self.rest(stage).await;
            }
            let gathered = self.gather().await?;
            let (is_last, end) = (gathered.is_last, gathered.cursor);
            if !self.carry_out(gathered).await? {
                return Ok(Ended::Overtaken);
            }
            if is_last && self.held.task.cursor >= end {
                return self.rest(Stage::Done).await;
            }
        }
    }

    /// The letters from where the task stands.
    fn open_letters(&mut self) {
        let task = &self.held.task;
        let broker = &self.engine.queue.broker;
        self.letters = Letters::of(broker, &task.plan.wanted, task.cursor, clock::now());
    }

    /// Waits for the time of the next message, and hears what is asked meanwhile.
    async fn hear(&mut self) -> Result<Heard, CliError> {
        let mut is_long = false;
        loop {
            if self.engine.shutdown.is_draining() {
                return Ok(Heard::Drain);
            }
            if !self.lease.keep().await? {
                return Ok(Heard::LeaseLost);
            }
            if self.looked.elapsed() >= HEARS_EVERY {
                let others = self.others_due().await?;
                if !others.is_empty() {
                    return Ok(Heard::Others(others));
                }
            }
            tokio::select! {
                biased;
                () = self.pace.wait() => return Ok(Heard::Nothing),
                () = self.engine.shutdown.drain() => {}
                () = tokio::time::sleep(HEARS_EVERY) => {
                    if !std::mem::replace(&mut is_long, true) {
                        self.letters.pause();
                    }
                    if !self.change(|task| task).await? {
                        return Ok(Heard::LeaseLost);
                    }
                    if self.held.task.stops_in().is_some() {
                        return Ok(Heard::Nothing);
                    }
                }
            }
        }
    }

    /// The other tasks somebody should work on now.
    async fn others_due(&mut self) -> Result<Vec<String>, CliError> {
        self.looked = Instant::now();
        let now = clock::now();
        let others = self.engine.desk.all().await?.into_iter().map(|held| held.task).filter(|task| {
            task.id != self.held.task.id && task.is_due(now) && !(self.engine.passes_over)(&task.id)
        });
        Ok(others.map(|task| task.id).collect())
    }

    /// Stops between two batches, where nothing is announced that is not on record.
    async fn let_go(&mut self, others: Vec<String>) -> Result<Ended, CliError> {
        if self.change(|task| task.let_go(clock::now())).await? {
            return Ok(Ended::LetGo { task: self.held.task.clone(), others });
        }
        Ok(Ended::Overtaken)
    }

    /// Changes the task, if it is still ours to change.
    async fn change(&mut self, mut decide: impl FnMut(Task) -> Task) -> Result<bool, CliError> {
        let owner = self.lease.owner.clone();
        let is_ours = |task: &Task| task.owner.as_deref() == Some(&owner) && task.stage == Stage::Running;
        let changed =
            self.engine.desk.change(self.held.clone(), |task| is_ours(&task).then(|| decide(task))).await?;
        let Some(held) = changed else { return Ok(false) };
        self.held = held;
        Ok(true)
    }

    async fn rest(&mut self, stage: Stage) -> Result<Ended, CliError> {
        if self.change(|task| task.rest(stage, clock::now())).await? {
            return Ok(Ended::Rests(self.held.task.clone()));
        }
        Ok(Ended::Overtaken)
    }
}

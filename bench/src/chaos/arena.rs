//! What every scenario is played on: a broker, workers with Python trainers, and an eye on stream and registry.
//!
//! The trainers are those the tests of the child use. Children import nothing in advance (`--preload noop`): what is
//! tested is how a worker comes back, not how long scikit-learn takes.

use std::path::PathBuf;
use std::time::Duration;

use local_stack::process::descendants;
use schemas::cloudevents::Context;
use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Encoding, Event, RunId};
use serde_json::Value;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::publish::{Outgoing, Publisher, Voice};
use service_kit::registry::{Registry, RunRecord};
use service_kit::topology::WORKER_CONSUMER;
use tokio::time::{Instant, sleep};

use super::orphans;
use super::report::{Halt, Report};
use super::timeline::Timeline;
use crate::environments::{trainer_python, workspace};
use crate::programs::Programs;
use crate::service::{Plan, Service};
use crate::stand::{Stand, timed_trainers, worker_flags};

/// Longest wait for anything: a lease that runs out, a broker that comes back, a trial or two, on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// How long a worker may take to drain: its grace period of 20 s, and what it does afterwards.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_secs(40);
/// Slots of a worker.
const SLOTS: usize = 2;
const POLL: Duration = Duration::from_millis(10);

/// A broker and an eye on it.
pub(super) struct Arena {
    pub(super) stand: Stand,
    pub(super) broker: Broker,
    pub(super) registry: Registry,
    pub(super) timeline: Timeline,
    publisher: Publisher,
    program: PathBuf,
    python: PathBuf,
}

/// A running worker. Dropping it kills it.
pub(super) struct Worker {
    name: &'static str,
    service: Service,
}

impl Arena {
    /// An empty one.
    pub(super) async fn open(programs: &Programs) -> Result<Self, CliError> {
        let stand = Stand::open().await?;
        let broker = stand.connect().await?;
        Ok(Self {
            registry: Registry::open(&broker).await?,
            timeline: Timeline::new(&broker),
            publisher: Publisher::new(&broker, Encoding::Json),
            program: programs.path("bridge-worker")?.to_owned(),
            python: trainer_python().await?,
            broker,
            stand,
        })
    }

    /// Starts a worker and does not wait for it. Workers of one name share a directory and a log.
    pub(super) async fn worker(&self, name: &'static str) -> Result<Worker, CliError> {
        self.worker_at(name, &self.stand.url()).await
    }

    /// The same for one that reaches the broker by another way.
    pub(super) async fn worker_at(&self, name: &'static str, url: &str) -> Result<Worker, CliError> {
        let dir = self.stand.dir().join(name);
        std::fs::create_dir_all(&dir)?;
        let mut flags = worker_flags(&self.python, SLOTS);
        flags.extend(timed_trainers());
        flags.extend(["--repo".into(), workspace().join("python/tests/fixtures").into()]);
        for module in ["faulty_trainers:*", "probes:*"] {
            flags.extend(["--allow-entrypoint".into(), module.into()]);
        }
        flags.extend(["--preload".into(), "noop".into()]);
        let program = &self.program;
        let service = Service::start(Plan { name, program, dir: &dir, nats_url: url, flags }).await?;
        Ok(Worker { name, service })
    }

    /// Asks for a run.
    pub(super) async fn submit(&self, request: Value) -> Result<RunId, CliError> {
        let (run, message) = self.request(request)?;
        self.publisher.send(&message).await.map_err(|error| unpublished(&error))?;
        Ok(run)
    }

    /// Asks for many runs in windows.
    pub(super) async fn submit_all(
        &self,
        requests: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<RunId>, CliError> {
        let prepared: Vec<_> = requests.into_iter().map(|one| self.request(one)).collect::<Result<_, _>>()?;
        let (runs, messages): (Vec<_>, Vec<_>) = prepared.into_iter().unzip();
        self.publisher.send_all(&messages).await.map_err(|error| unpublished(&error))?;
        Ok(runs)
    }

    fn request(&self, request: Value) -> Result<(RunId, Outgoing), CliError> {
        let request: RunRequested = serde_json::from_value(request).expect("a request written here is valid");
        let run = request.run_id.clone().expect("a request written here names its run");
        let context = Context { source: "/cerebros/bench/chaos".to_owned(), ..Context::default() };
        let voice = Voice::outside(run.clone(), context);
        let message = self.publisher.prepare(&Event::from(request), &voice);
        Ok((run, message.map_err(|error| unpublished(&error))?))
    }

    /// What the registry knows of a run; `None` also while it cannot be asked.
    pub(super) async fn record(&self, run: &RunId) -> Option<RunRecord> {
        self.registry.get(run).await.ok().flatten().map(|held| held.record)
    }

    /// Waits until somebody has a run in hand for a later attempt than `attempt`, or until it is over.
    pub(super) async fn claimed_after(&self, run: &RunId, attempt: u32) -> Result<RunRecord, Halt> {
        until(&format!("somebody takes run {run} after attempt {attempt}"), PATIENCE, async || {
            let record = self.record(run).await?;
            let is_in_hand = record.state == RunState::Running && record.attempt > attempt;
            (is_in_hand || record.state.is_final()).then_some(record)
        })
        .await
    }

    /// Waits until so many trials of a run are stored, or until it is over.
    pub(super) async fn trained(&mut self, run: &RunId, count: usize) -> Result<(), Halt> {
        until(&format!("run {run} has {count} trials"), PATIENCE, async || {
            self.timeline.catch_up().await.ok()?;
            let is_over = self.timeline.of(run).iter().any(|said| said.event.is_terminal());
            (is_over || self.timeline.trials(run) >= count).then_some(())
        })
        .await
    }

    /// Waits for the end of a run in the registry, which is written last, and reads on to it.
    pub(super) async fn ended(&mut self, run: &RunId) -> Result<RunRecord, Halt> {
        let record = until(&format!("run {run} ends"), PATIENCE, async || {
            self.record(run).await.filter(|record| record.state.is_final())
        })
        .await?;
        self.read_on().await?;
        Ok(record)
    }

    /// Reads what has come.
    pub(super) async fn read_on(&mut self) -> Result<(), Halt> {
        until("the stream can be read", PATIENCE, async || self.timeline.catch_up().await.ok()).await
    }

    /// Waits until the worker's consumer has nothing left.
    pub(super) async fn settled(&self) -> Result<(), Halt> {
        until("every request is settled", PATIENCE, async || {
            let stream = self.broker.jetstream.get_stream(STREAM).await.ok()?;
            let info = stream.consumer_info(WORKER_CONSUMER).await.ok()?;
            (info.num_ack_pending == 0 && info.num_pending == 0).then_some(())
        })
        .await
    }

    /// Ends the broker and looks for processes that are still there. Returns the directory's keeper.
    pub(super) async fn close(self, report: &mut Report) -> Stand {
        report.broke(self.timeline.unreadable().iter().cloned());
        self.stand.kill_broker().await;
        let left = orphans::naming(self.stand.dir()).await;
        report.expect(left.is_empty(), || format!("processes {left:?} were left behind"));
        self.stand
    }
}

impl Worker {
    /// SIGKILL, and what of its children is still there after it.
    pub(super) async fn kill(self, report: &mut Report) {
        let family = descendants(self.service.pid());
        self.service.kill().await;
        bury(self.name, &family, "was killed", report).await;
    }

    /// SIGTERM, waits for the end, and says what was wrong with it.
    pub(super) async fn stop(self, report: &mut Report) {
        let family = descendants(self.service.pid());
        let exit = self.service.stop_within(DRAIN_LIMIT).await;
        report.expect(exit.is_success(), || format!("{} did not drain: {exit}", self.name));
        bury(self.name, &family, "was stopped", report).await;
    }

    /// Waits until it is ready for requests.
    pub(super) async fn ready(&self) -> Result<(), CliError> {
        self.service.ready().await.map(drop)
    }

    /// SIGSTOP.
    pub(super) fn pause(&self) {
        self.service.pause();
    }

    /// SIGCONT.
    pub(super) fn resume(&self) {
        self.service.resume();
    }
}

async fn bury(name: &str, family: &[u32], what: &str, report: &mut Report) {
    let left = orphans::left_of(family).await;
    report.expect(left.is_empty(), || format!("processes {left:?} outlived {name}, which {what}"));
}

/// Looks again and again until there is something, or until what had to happen is overdue.
pub(super) async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T, Halt> {
    let deadline = Instant::now() + limit;
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if Instant::now() < deadline => sleep(POLL).await,
            Ok(None) | Err(_) => {
                return Err(Halt::Overdue(format!("not within {} s: {what}", limit.as_secs())));
            }
        }
    }
}

fn unpublished(error: &dyn std::error::Error) -> CliError {
    CliError::new("unpublished", Exit::Unreachable, "a request was not published").because(error)
}

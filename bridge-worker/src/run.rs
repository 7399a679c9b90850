//! One attempt at a run, from its announcement to its last trial, whoever searches.

mod progress;
mod training;

use std::sync::Arc;
use std::time::Duration;

use schemas::event::{MlRunStarted, RunStarted};
use schemas::{Event, Json};
use service_kit::clock;
use service_kit::registry::RunRecord;
use service_kit::shutdown::Shutdown;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::announce::{Announcer, Unsaid};
use crate::control::Signals;
use crate::course::Grant;
use crate::opaque::OpaqueRun;
use crate::outside::Outside;
use crate::plan::{RunPlan, Work};
use crate::remarks::Remarks;
use crate::resume::{Checkpoint, DATASET_SHA256};
use crate::slots::Place;
use crate::supervisor::Ending;
use crate::vitals::Vitals;
use crate::worker::Worker;

use progress::Clock;
pub(crate) use training::{Training, Workshop};

pub(crate) use progress::{Progress, Reporter};

/// An attempt that was granted to us: what every way of searching needs.
pub(crate) struct Attempt {
    pub(crate) worker: Arc<Worker>,
    pub(crate) plan: Arc<RunPlan>,
    pub(crate) record: RunRecord,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) vitals: Arc<Vitals>,
    /// The run's place in the queue for slots.
    pub(crate) place: Arc<Place>,
    /// What the end of the run warns of.
    pub(crate) remarks: Arc<Remarks>,
    silenced: CancellationToken,
    signals: Signals,
    began: Instant,
    /// Time earlier attempts have worked.
    spent: Duration,
}

impl Attempt {
    /// What comes to the run from outside.
    pub(crate) fn outside<'a>(&self, shutdown: &'a Shutdown) -> Outside<'a> {
        Outside::new(&self.signals, self.silenced.clone(), shutdown, self.deadline())
    }

    /// When the time of the run is up. What earlier attempts have used counts; the time between attempts does not.
    fn deadline(&self) -> Option<Instant> {
        let limit = self.plan.request.budget.max_seconds?;
        let limit = Duration::try_from_secs_f64(limit.0).ok()?;
        Some(self.began + limit.saturating_sub(self.spent))
    }

    /// True when earlier attempts may have left files of which no trial tells.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.record.attempt > 1
    }

    /// Nothing can be trained here: no more requests are taken until it can.
    pub(crate) fn hand_back(&self, reason: &str) {
        tracing::error!(run = %self.plan.run_id, reason, "no trial can be begun here; the run is given back");
        self.worker.fitness.doubt();
    }

    /// What trials of ours are carried out with.
    fn workshop(&self) -> Workshop {
        let worker = &self.worker;
        Workshop {
            plan: self.plan.clone(),
            attempt: self.record.attempt,
            worker_id: worker.id.clone(),
            announcer: self.announcer.clone(),
            invoker: worker.invoker.clone(),
            remarks: self.remarks.clone(),
            place: self.place.clone(),
            artifacts: worker.artifacts.clone(),
            cache: worker.cache.clone(),
            workdirs: worker.workdirs.clone(),
            vitals: self.vitals.clone(),
            retries: worker.retries,
            invocations: worker.gauges.invocations.clone(),
        }
    }

    /// Where the run stands, as far as that does not depend on who searches.
    pub(crate) fn account(&self) -> Account {
        Account {
            took: self.spent + self.began.elapsed(),
            is_opened: true,
            has_leftovers: self.has_leftovers(),
            warnings: self.remarks.all(),
            ..Account::default()
        }
    }
}

/// Who searches.
enum Searcher {
    We(Box<Training>),
    TheUser(Box<OpaqueRun>),
}

/// One attempt at a run.
pub(crate) struct Run {
    attempt: Attempt,
    searcher: Searcher,
    is_opened: bool,
}

impl Run {
    /// The run where earlier attempts have left it.
    pub(crate) fn new(
        worker: Arc<Worker>,
        plan: Arc<RunPlan>,
        grant: &Grant,
        vitals: Arc<Vitals>,
        checkpoint: &Checkpoint,
    ) -> Self {
        let attempt = Attempt {
            place: Arc::new(worker.slots.join(plan.request.priority)),
            record: grant.held.record.clone(),
            announcer: grant.announcer.clone(),
            silenced: grant.silenced.clone(),
            signals: grant.signals.clone(),
            began: Instant::now(),
            spent: checkpoint.active().max(Duration::from_millis(grant.held.record.active_ms)),
            remarks: Arc::default(),
            worker,
            plan,
            vitals,
        };
        let searcher = match &attempt.plan.work {
            Work::Search(search) => {
                let parallelism = attempt.record.parallelism;
                Searcher::We(Box::new(Training::new(attempt.workshop(), search, parallelism, checkpoint)))
            }
            Work::Opaque(entry) => Searcher::TheUser(Box::new(OpaqueRun::new(&attempt, entry, checkpoint))),
        };
        Self { attempt, searcher, is_opened: checkpoint.is_opened }
    }

    /// Announces the attempt, and the run's record where no earlier attempt has.
    pub(crate) async fn announce(&self) -> Result<(), Unsaid> {
        let request = &self.attempt.plan.request;
        let started = RunStarted {
            run_id: self.attempt.plan.run_id.clone(),
            attempt: self.attempt.record.attempt,
            worker_id: self.attempt.worker.id.to_string(),
            dataset_id: request.dataset_id.clone(),
            objective: request.objective.clone(),
            resumed_trials: self.resumed(),
        };
        let mut events: Vec<Event> = vec![started.into()];
        if !self.is_opened {
            events.push(self.opening().into());
        }
        self.attempt.announcer.say(&events).await
    }

    fn opening(&self) -> MlRunStarted {
        let request = &self.attempt.plan.request;
        let is_ours = request.entrypoint.is_none();
        let mut extra = serde_json::json!({
            "strategy": is_ours.then_some(&request.strategy),
            "trainer": is_ours.then_some(&request.trainer),
            "entrypoint": request.entrypoint,
            "direction": self.attempt.plan.direction.as_str(),
            "seed": self.attempt.plan.seed,
            "experiment": request.experiment,
            "tags": request.tags,
        });
        if let Some(dataset) = &self.attempt.plan.dataset {
            extra[DATASET_SHA256] = dataset.sha256.as_str().into();
        }
        if let (Some(extra), Some(given)) = (extra.as_object_mut(), request.extra.0.as_object()) {
            for (key, value) in given {
                extra.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        MlRunStarted {
            run_id: self.attempt.plan.run_id.clone(),
            timestamp: clock::now(),
            dataset_id: Some(request.dataset_id.clone()),
            search_space: request.search_space.clone(),
            objective: request.objective.clone(),
            pulse_id: request.pulse_id.clone(),
            budget: Json(serde_json::to_value(&request.budget).expect("a budget is plain data")),
            parameters: request.parameters.clone(),
            tau: Some(request.tau),
            correlation_id: request
                .correlation_id
                .clone()
                .or_else(|| Some(self.attempt.plan.run_id.to_string())),
            extra: Json(extra),
        }
    }

    fn resumed(&self) -> u32 {
        match &self.searcher {
            Searcher::We(training) => training.resumed,
            Searcher::TheUser(opaque) => opaque.resumed,
        }
    }

    /// Searches until the run is over, for now or for good.
    pub(crate) async fn execute(&mut self, shutdown: &Shutdown) -> Ending {
        let attempt = &self.attempt;
        let reporter = Reporter::start(
            attempt.worker.registry.clone(),
            attempt.record.clone(),
            attempt.silenced.clone(),
            Clock { vitals: attempt.vitals.clone(), began: attempt.began, spent: attempt.spent },
        );
        let ending = match &mut self.searcher {
            Searcher::We(training) => {
                let tell = |progress| reporter.tell(progress);
                let hand_back = |reason: &str| attempt.hand_back(reason);
                training.train(&mut attempt.outside(shutdown), &tell, &hand_back).await
            }
            Searcher::TheUser(opaque) => opaque.search(attempt, shutdown, &reporter).await,
        };
        reporter.finish().await;
        ending
    }

    /// Where the run stands.
    pub(crate) fn account(&self) -> Account {
        match &self.searcher {
            Searcher::We(training) => training.account(self.attempt.account()),
            Searcher::TheUser(opaque) => opaque.account(&self.attempt),
        }
    }
}

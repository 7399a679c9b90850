//! One search without a broker: the same supervisor and the same trials, told to this process alone.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use schemas::cloudevents::{Headers, Voice};
use schemas::event::RunStarted;
use schemas::{Event, Failure, FailureClass, Stage};
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use service_kit::registry::RunRecord;
use service_kit::registry::record::claim;
use service_kit::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pages::Pages;
use super::{Lines, Outcome, RunArgs, hold, outcome_of, refused};
use crate::account::Account;
use crate::announce::Announcer;
use crate::artifacts::Artifacts;
use crate::asked::Asked;
use crate::cache::ResultCache;
use crate::cli::process_id;
use crate::datasets::{Datasets, NotLocated};
use crate::ending;
use crate::gauges::Gauges;
use crate::halt::{Halt, completed, failed};
use crate::invocations::Invocations;
use crate::means::Means;
use crate::outside::Outside;
use crate::plan::RunPlan;
use crate::remarks::Remarks;
use crate::resume::Checkpoint;
use crate::retry::RetryPolicy;
use crate::run::{Training, Workshop};
use crate::serve::RESULTS;

/// Events that wait to be shown; when they are many, trials wait.
const UNHEARD_EVENTS: usize = 64;

/// Carries out the search of this plan and tells what came of it.
pub(super) async fn run(
    args: &RunArgs,
    mut plan: RunPlan,
    shutdown: &Shutdown,
    lines: &mut Lines,
) -> Result<Outcome, CliError> {
    let serve = &args.serve;
    let _hold = hold(shutdown);
    if let Some(gate) = serve.gates.gates()?.closed() {
        let failure = Failure::new(FailureClass::Dependency, Stage::Execute, gate.to_string());
        return Ok(outcome_of(&plan).failed(failure));
    }
    if plan.search().is_none() {
        return Err(brings_its_own());
    }
    let pages = Pages::open(serve, shutdown).await?;
    let means = Means::of(serve, process_id("job").into())?;
    let root = serve.workdir().join(&*means.id);
    let files = std::path::absolute(serve.broker.data_dir.join("artifacts"));
    let artifacts =
        Artifacts::in_directory(files.unwrap_or_else(|_| serve.broker.data_dir.join("artifacts")));
    let datasets = Datasets::new(serve.dataset_dir(), root.join("fetched"));
    plan.dataset =
        datasets.locate(&artifacts, &plan.request.dataset_id).await.map_err(|error| match error {
            NotLocated::Refused(failure) => refused(&failure),
            NotLocated::Unavailable(reason) => {
                CliError::internal("a file of this machine is unavailable").because(reason)
            }
        })?;
    let (sender, events) = mpsc::channel(UNHEARD_EVENTS);
    let results = serve.broker.data_dir.join(RESULTS);
    let gauges = Gauges::new(&pages.metrics);
    let cache =
        ResultCache::open(&serve.cache, &results, (means.slots.settings(), &means.code), &gauges).await;
    let slots = means.slots.clone();
    let _kept = pages.keep(&gauges, &slots, None);
    let kept = (artifacts, cache.clone());
    let search = SearchHere::new(args, Arc::new(plan), means, kept, gauges.invocations.clone(), sender);
    let (unheard, max_trials) = (CancellationToken::new(), search.plan.request.budget.max_trials);
    let listening = listen(outcome_of(&search.plan), max_trials, events, (lines, &unheard));
    let (outcome, ()) = tokio::join!(listening, search.run(shutdown, unheard.clone()));
    slots.close().await;
    if let Some(cache) = cache {
        cache.close().await;
    }
    Ok(outcome)
}

/// A search of somebody else's speaks to the stream as it goes; there is none here.
fn brings_its_own() -> CliError {
    CliError::new("needs-broker", Exit::InvalidInput, "a run that brings its own search needs a broker")
        .because("its `entrypoint` tells of its trials in events")
        .help("leave out --offline, or give a trainer instead of an entrypoint")
}

/// Gathers what is told until nobody speaks any more, or whoever reads the lines has left, which `unheard` then says; a
/// person is shown each trial.
async fn listen(
    mut outcome: Outcome,
    max_trials: u32,
    mut events: mpsc::Receiver<Event>,
    (lines, unheard): (&mut Lines, &CancellationToken),
) -> Outcome {
    let is_watched = std::io::stderr().is_terminal();
    while let Some(event) = events.recv().await {
        outcome.take(&event);
        let Event::TrialReported(trial) = &event else { continue };
        if is_watched {
            output::note(outcome.progress(trial, max_trials));
        }
        if !lines.show(trial) {
            unheard.cancel();
            break;
        }
    }
    outcome
}

/// A search in this process.
struct SearchHere {
    plan: Arc<RunPlan>,
    asked: Asked,
    record: RunRecord,
    announcer: Arc<Announcer>,
    remarks: Arc<Remarks>,
    training: Training,
    began: Instant,
}

impl SearchHere {
    fn new(
        args: &RunArgs,
        plan: Arc<RunPlan>,
        means: Means,
        (artifacts, cache): (Artifacts, Option<Arc<ResultCache>>),
        invocations: Invocations,
        listener: mpsc::Sender<Event>,
    ) -> Self {
        let now = clock::now();
        let asked = Asked {
            run_id: plan.run_id.clone(),
            request: plan.request.clone(),
            sequence: 1,
            delivery: 1,
            at: now,
            headers: Headers::default(),
            expires: None,
            cancelled: None,
            is_owner_gone: false,
        };
        let (record, _) = claim(None, &asked.claimant(&means.id), now);
        let record = record.expect("a run nobody knows is granted");
        let voice =
            Voice { attempt: record.attempt, ..Voice::outside(plan.run_id.clone(), Default::default()) };
        let announcer = Arc::new(Announcer::without_broker(voice, listener));
        let remarks = Arc::<Remarks>::default();
        let workshop = Workshop {
            plan: plan.clone(),
            attempt: record.attempt,
            worker_id: means.id,
            announcer: announcer.clone(),
            invoker: means.invoker,
            remarks: remarks.clone(),
            place: Arc::new(means.slots.join(plan.request.priority)),
            artifacts,
            cache,
            workdirs: means.workdirs,
            vitals: Arc::default(),
            retries: RetryPolicy {
                max_retries: args.serve.max_retries,
                backoff: Duration::from_millis(args.serve.retry_backoff_ms),
            },
            invocations,
        };
        let searched = plan.search().expect("runs that bring their own search were refused");
        let training = Training::new(workshop, searched, None, &Checkpoint::default());
        Self { plan, asked, record, announcer, remarks, training, began: Instant::now() }
    }

    /// From the first word to the last; nobody is told anything afterwards.
    async fn run(mut self, shutdown: &Shutdown, unheard: CancellationToken) {
        let started = RunStarted {
            run_id: self.plan.run_id.clone(),
            attempt: self.record.attempt,
            worker_id: self.record.worker_id.clone().unwrap_or_default(),
            dataset_id: self.plan.request.dataset_id.clone(),
            objective: self.plan.request.objective.clone(),
            resumed_trials: 0,
        };
        let said = match self.announcer.say(&[started.into()]).await {
            Err(error) => Err(error.into()),
            Ok(()) => {
                let mut outside = Outside::of_a_run_here(unheard, shutdown, self.deadline());
                completed(self.training.train(&mut outside, &|_| (), &|_| ()).await)
            }
        };
        let account = self.account();
        let checked = said.and_then(|status| {
            account.check(&self.plan.request, status).map_err(failed)?;
            Ok(ending::completed(&self.asked, &self.record, &account, status))
        });
        let end =
            checked.unwrap_or_else(|halt: Halt| ending::undone(&halt, &self.asked, &self.record, &account));
        if let Err(error) = self.announcer.say(&end.events).await {
            tracing::error!(%error, "the end of the run could not be told");
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let limit = self.plan.request.budget.max_seconds?;
        Duration::try_from_secs_f64(limit.0).ok().map(|limit| self.began + limit)
    }

    fn account(&self) -> Account {
        let account =
            Account { took: self.began.elapsed(), warnings: self.remarks.all(), ..Account::default() };
        self.training.account(account)
    }
}

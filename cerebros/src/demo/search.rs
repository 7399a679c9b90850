//! The search itself: submitted, followed to its end, seen while it happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use producer::follow::Follower;
use producer::progress::Progress;
use producer::submit;
use schemas::event::{ArtifactRef, RunRequested};
use schemas::{Encoding, Event, Json, Real, RunId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::output::note;
use tokio::time::{MissedTickBehavior, interval};

use super::live::Live;

/// How long the broker may stay silent.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the live line is brought up to date while nothing happens.
const TICK: Duration = Duration::from_millis(500);

/// How a search ended, from its own events.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The run.
    pub(super) run: RunId,
    /// All in numbers; its state is final.
    pub(super) progress: Progress,
    /// Metrics of the best trial, those on held-out data among them.
    pub(super) metrics: BTreeMap<String, Real>,
    /// Parameters of the best trial.
    pub(super) parameters: Json,
    /// What the best trial left behind.
    pub(super) files: Vec<ArtifactRef>,
    /// Why it ended unsuccessfully.
    pub(super) reason: Option<String>,
    /// When the first trial was seen.
    pub(super) first_trial: Option<Instant>,
}

/// Submits a request and follows it to its end.
///
/// # Errors
/// When the broker refuses the request or falls silent. A search that fails is no error here.
pub(super) async fn run(broker: &Broker, request: &RunRequested) -> Result<Found, CliError> {
    let run = request.run_id.clone().expect("the demo's requests have a run id");
    let published = submit::publish(broker, request.clone(), Encoding::Json, PATIENCE).await?;
    note(format!("searching: {} trials on {}, run {run}", request.budget.max_trials, request.dataset_id));
    let mut events = Follower::new(broker, &run, published.sequence, PATIENCE);
    let mut live = Live::new();
    let mut found = Found {
        run,
        progress: Progress::default(),
        metrics: BTreeMap::new(),
        parameters: Json::object(),
        files: Vec::new(),
        reason: None,
        first_trial: None,
    };
    let mut trials = BTreeMap::new();
    while let Some(event) = next(&mut events, &found.progress, &mut live).await? {
        let has_changed = found.progress.apply(&event.event, event.line.time);
        if let Event::TrialReported(trial) = &event.event {
            found.first_trial.get_or_insert_with(Instant::now);
            trials.insert(trial.trial_id.clone(), trial.metrics.clone());
        }
        live.show(&event.event, &found.progress);
        if has_changed && found.progress.state.is_final() {
            found.end(event.event);
            break;
        }
    }
    let best = found.progress.best_trial.as_ref();
    found.metrics = best.and_then(|best| trials.remove(best)).unwrap_or_default();
    Ok(found)
}

/// The next event; meanwhile the live line stays fresh.
async fn next(
    events: &mut Follower,
    progress: &Progress,
    live: &mut Live,
) -> Result<Option<producer::follow::RunEvent>, CliError> {
    let mut event = std::pin::pin!(events.next());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            event = &mut event => return event,
            _ = ticks.tick() => live.refresh(progress),
        }
    }
}

impl Found {
    fn end(&mut self, event: Event) {
        match event {
            Event::RunCompleted(completed) => {
                self.parameters = completed.best_model;
                self.files = completed.artifact_refs;
            }
            Event::RunFailed(failed) => {
                self.reason = Some(format!("{}: {}", failed.failure.class, failed.failure.message));
            }
            Event::RunCancelled(cancelled) => {
                self.reason = Some(cancelled.reason.unwrap_or_else(|| "cancelled".to_owned()));
            }
            Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::RunStarted(_)
            | Event::RunInterrupted(_)
            | Event::MlRunStarted(_)
            | Event::TrialReported(_)
            | Event::MetricReported(_)
            | Event::MlRunFinalized(_)
            | Event::RunException(_) => {}
        }
    }
}

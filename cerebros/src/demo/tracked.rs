//! The demo's last question: is every trial in MLflow? Asked of MLflow itself, through its own search.

use std::path::Path;
use std::time::Duration;

use mlflow_sink::client::Client;
use mlflow_sink::client::pages::Page;
use mlflow_sink::projection::parent::{self, KIND_TAG, RUN_TAG};
use mlflow_sink::projection::trial;
use schemas::event::RunRequested;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::mlflow::tracking::{Authorization, Tracking};
use service_kit::output::note;
use tokio::time::{Instant, sleep};

use super::report::Report;
use crate::assembly::Assembly;
use crate::patience::patiently;

/// Pause between two questions.
const POLL: Duration = Duration::from_millis(200);
/// How long nothing may arrive; the sink writes dozens of trials a second.
const STALL_DEADLINE: Duration = Duration::from_secs(60);
/// Least time between two lines about the waiting.
const SAID_INTERVAL: Duration = Duration::from_secs(5);

/// A run as MLflow has it.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Tracked {
    /// Where MLflow answers.
    pub(super) url: String,
    /// Name of the experiment.
    pub(super) experiment: String,
    /// Its id.
    pub(super) experiment_id: String,
    /// The parent run.
    pub(super) run_id: String,
    /// Trials under it, counted by MLflow.
    pub(super) trials: u32,
}

/// Waits until MLflow runs and has the parent, ended, with all its trials.
///
/// # Errors
/// When MLflow does not start, or nothing arrives for a minute.
pub(super) async fn wait(
    assembly: &mut Assembly,
    request: &RunRequested,
    report: &Report,
) -> Result<Tracked, CliError> {
    note("the search is over; waiting for MLflow to have every trial");
    let url = patiently("MLflow", assembly.tracking())
        .await?
        .ok_or_else(|| CliError::internal("the demo has no MLflow"))?;
    let client = Client::new(Tracking::new(&url, Authorization::None)?)?;
    let experiment = request.experiment.clone().unwrap_or_default();
    let mut seen = (0, Instant::now());
    let mut said = Instant::now();
    loop {
        let found = look(&client, &url, &experiment, report).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "MLflow does not tell yet");
            None
        });
        let trials = found.as_ref().map_or(0, |(tracked, _)| tracked.trials);
        match found {
            Some((tracked, true)) if trials == report.trials => return Ok(tracked),
            Some(_) | None if trials > seen.0 => seen = (trials, Instant::now()),
            Some(_) | None if seen.1.elapsed() > STALL_DEADLINE => {
                return Err(stalled(trials, report.trials, assembly.logs()));
            }
            Some(_) | None => {}
        }
        if said.elapsed() >= SAID_INTERVAL {
            said = Instant::now();
            note(format!("{trials} of {} trials are in MLflow", report.trials));
        }
        sleep(POLL).await;
    }
}

/// The run as MLflow has it now, and whether it has ended there.
async fn look(
    client: &Client,
    url: &str,
    experiment: &str,
    report: &Report,
) -> Result<Option<(Tracked, bool)>, mlflow_sink::client::error::ClientError> {
    let Some(found) = client.experiment(experiment).await? else { return Ok(None) };
    let experiments = std::slice::from_ref(&found.id);
    let run = (RUN_TAG, report.run_id.as_str());
    let (parents, _) = client.search(experiments, &[run, (KIND_TAG, parent::KIND)], Page::first()).await?;
    let Some(parent) = parents.into_iter().next() else { return Ok(None) };
    let mut trials = 0;
    let mut next = Some(Page::first());
    while let Some(page) = next {
        let (runs, behind) = client.search(experiments, &[run, (KIND_TAG, trial::KIND)], page).await?;
        trials += runs.len();
        next = behind;
    }
    let tracked = Tracked {
        url: url.to_owned(),
        experiment: experiment.to_owned(),
        experiment_id: found.id,
        run_id: parent.run_id,
        trials: u32::try_from(trials).unwrap_or(u32::MAX),
    };
    Ok(Some((tracked, parent.end_time.is_some())))
}

fn stalled(trials: u32, expected: u32, logs: &Path) -> CliError {
    let what = format!("only {trials} of {expected} trials are in MLflow");
    CliError::new("mlflow-stalled", Exit::Unreachable, what)
        .because(format!("nothing arrived for {} s", STALL_DEADLINE.as_secs()))
        .help(format!("sink.log and mlflow.log in {} tell why", logs.display()))
}

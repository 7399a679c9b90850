//! `show`: one run with its request, its counts and its trials.

use std::collections::BTreeMap;
use std::io::{self, Write};

use schemas::event::{TrialReported, TrialStatus};
use schemas::subject::STREAM;
use schemas::{Event, Failure, Json, Real, Record, RunId, TrialId};
use serde::Serialize;
use serde_json::Value;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;

use crate::connection::Shared;
use crate::follow::Follower;
use crate::progress::{Progress, objective_of};
use crate::runs::{self, Run, RunRow};
use crate::watch::Target;

/// Trials that are shown; the stream has them all.
const MAX_TRIALS: usize = 100_000;
/// Trials a person is shown; `-o json` has the others.
const MAX_TRIALS_FOR_PEOPLE: usize = 50;

/// The arguments of `show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The run
    #[arg(value_name = "RUN", value_parser = RunId::parse)]
    pub run: RunId,
    /// Broker, output, timeout.
    #[command(flatten)]
    pub shared: Shared,
}

/// A run, laid open.
#[derive(Debug, Serialize)]
struct Details {
    #[serde(flatten)]
    row: RunRow,
    spec: Value,
    failures: u32,
    interruptions: u32,
    worker_losses: u32,
    parallelism: Option<u32>,
    ended_by: Option<String>,
    failure: Option<Failure>,
    cancel_requested: Option<String>,
    mlflow_run_id: Option<String>,
    trials: Vec<Trial>,
}

/// One trial of it.
#[derive(Debug, Serialize)]
struct Trial {
    trial_id: TrialId,
    number: Option<u32>,
    status: TrialStatus,
    objective: Option<Real>,
    attempt: Option<u32>,
    duration_ms: Option<i64>,
    failure_class: Option<String>,
    failure_message: Option<String>,
    parameters: Json,
    mlflow_run_id: Option<String>,
}

/// Carries out `show`.
pub(crate) async fn show(args: &ShowArgs) -> Result<Exit, CliError> {
    let printer = args.shared.output.printer();
    let broker = args.shared.connect().await?;
    let run = args.shared.within(&broker, runs::get(&broker, &args.run)).await?;
    let details = read(&broker, &run, args).await?;
    printer.object(&details, |out| write_for_people(out, &details))?;
    Ok(Exit::Done)
}

/// Reads the run's trials from the stream, up to its end or to the present.
async fn read(broker: &Broker, run: &Run, args: &ShowArgs) -> Result<Details, CliError> {
    let subjects = [
        Record::RunRequested,
        Record::RunStarted,
        Record::TrialReported,
        Record::RunCompleted,
        Record::RunFailed,
        Record::RunCancelled,
    ]
    .map(Record::subject);
    let target = Target::of(run);
    let mut events = Follower::new(broker, &args.run, target.first_sequence(), args.shared.timeout)
        .on(&subjects)
        .up_to_the_present();
    let mut progress = Progress::default();
    // A trial that was trained again counts as it ended last.
    let mut trials: BTreeMap<TrialId, TrialReported> = BTreeMap::new();
    let mut failure = None;
    while let Some(event) = events.next().await? {
        let has_changed = progress.take(&event);
        match event.event {
            Event::TrialReported(trial) if has_changed && trials.len() < MAX_TRIALS => {
                trials.insert(trial.trial_id.clone(), trial);
            }
            Event::RunFailed(failed) if has_changed => failure = Some(failed.failure),
            Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::RunStarted(_)
            | Event::RunCompleted(_)
            | Event::RunFailed(_)
            | Event::RunCancelled(_)
            | Event::RunInterrupted(_)
            | Event::MlRunStarted(_)
            | Event::MlRunFinalized(_)
            | Event::TrialReported(_)
            | Event::MetricReported(_)
            | Event::RunException(_) => {}
        }
        if has_changed && progress.state.is_final() && event.line.seq >= target.request_sequence() {
            break;
        }
    }
    if progress.done as usize > MAX_TRIALS {
        output::warning(format!(
            "only the first {MAX_TRIALS} trials are shown; the stream {STREAM} has them all"
        ));
    }
    Ok(details(run, &progress, &trials, failure))
}

fn details(
    run: &Run,
    progress: &Progress,
    trials: &BTreeMap<TrialId, TrialReported>,
    failure: Option<Failure>,
) -> Details {
    let record = match run {
        Run::Known(record, _) => Some(record),
        Run::Asked(_) => None,
    };
    let mut row = run.row();
    if record.is_none() {
        // No worker of ours left a record: only the events tell.
        row.state = progress.state;
        row.attempt = progress.attempt;
        (row.completed_trials, row.failed_trials) = (progress.done, progress.failed);
        row.best_metric = progress.best.map(Real);
        row.best_trial_id = progress.best_trial.as_ref().map(|trial| trial.as_str().to_owned());
    }
    let mut trials: Vec<Trial> = trials.values().map(|trial| Trial::of(trial, &row.objective)).collect();
    trials.sort_by_key(|trial| trial.number);
    Details {
        spec: run.spec(),
        failures: record.map_or(u32::from(failure.is_some()), |record| record.failures),
        interruptions: record.map_or(0, |record| record.interruptions),
        worker_losses: record.map_or(0, |record| record.worker_losses),
        parallelism: run.parallelism().map(|(number, _)| number),
        ended_by: record.map_or_else(
            || failure.as_ref().map(|failure| failure.class.to_string()),
            |record| record.ended_by.clone(),
        ),
        failure: record.and_then(|record| record.failure.clone()).or(failure),
        cancel_requested: record.and_then(|record| record.cancel_requested.clone()),
        mlflow_run_id: record.and_then(|record| record.mlflow_run_id.clone()),
        trials,
        row,
    }
}

impl Trial {
    fn of(trial: &TrialReported, objective: &str) -> Self {
        Self {
            trial_id: trial.trial_id.clone(),
            number: trial.number,
            status: trial.status,
            objective: objective_of(trial, objective).map(Real),
            attempt: trial.attempt,
            duration_ms: trial.duration_ms,
            failure_class: trial.failure.as_ref().map(|failure| failure.class.to_string()),
            failure_message: trial.failure.as_ref().map(|failure| failure.message.clone()),
            parameters: trial.parameters.clone(),
            mlflow_run_id: trial.mlflow_run_id.clone(),
        }
    }
}

fn write_for_people(out: &mut dyn Write, details: &Details) -> io::Result<()> {
    let row = &details.row;
    writeln!(out, "run            {}", row.run_id)?;
    writeln!(out, "state          {}", row.state)?;
    writeln!(out, "data set       {}", row.dataset_id)?;
    writeln!(out, "attempt        {}", row.attempt)?;
    writeln!(out, "trials         {} ({} failed)", row.completed_trials, row.failed_trials)?;
    if let Some(best) = row.best_metric {
        let trial = row.best_trial_id.as_deref().unwrap_or("?");
        writeln!(out, "best           {} {:.4} in {trial}", row.objective, best.0)?;
    }
    writeln!(
        out,
        "setbacks       {} failures, {} interruptions, {} worker losses",
        details.failures, details.interruptions, details.worker_losses
    )?;
    if let Some(number) = details.parallelism {
        writeln!(out, "parallelism    {number}")?;
    }
    writeln!(out, "requested      {}", row.requested_at)?;
    for (name, time) in [("started  ", row.started_at), ("ended    ", row.ended_at)] {
        if let Some(time) = time {
            writeln!(out, "{name}      {time}")?;
        }
    }
    let facts = [
        ("worker   ", &row.worker_id),
        ("ended by ", &details.ended_by),
        ("cancelled", &details.cancel_requested),
        ("mlflow   ", &details.mlflow_run_id),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            writeln!(out, "{name}      {value}")?;
        }
    }
    if let Some(failure) = &details.failure {
        writeln!(out, "failure        {}: {}", failure.class, failure.message)?;
    }
    write_trials(out, details)
}

fn write_trials(out: &mut dyn Write, details: &Details) -> io::Result<()> {
    if details.trials.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ntrial  status     {}", details.row.objective)?;
    for trial in details.trials.iter().take(MAX_TRIALS_FOR_PEOPLE) {
        let number = trial.number.map_or_else(|| trial.trial_id.to_string(), |number| number.to_string());
        let objective = trial.objective.map_or_else(|| "-".to_owned(), |value| format!("{:.4}", value.0));
        let reason = trial.failure_message.as_deref().unwrap_or_default();
        let line = format!("{number:<5}  {:<9}  {objective}  {reason}", trial.status.as_str());
        writeln!(out, "{}", line.trim_end())?;
    }
    match details.trials.len().saturating_sub(MAX_TRIALS_FOR_PEOPLE) {
        0 => Ok(()),
        left => writeln!(out, "and {left} more; -o json has them all"),
    }
}

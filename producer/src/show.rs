//! `show`: one run with its request, its counts, its trials, and why what went wrong did.

mod details;
mod ending;
mod excerpt;
mod failures;
mod people;

use std::collections::BTreeMap;

use schemas::event::TrialReported;
use schemas::subject::STREAM;
use schemas::{Event, Record, RunId, TrialId};
use service_kit::births::of_run::{Family, of_run};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;

use crate::connection::Shared;
use crate::follow::Follower;
use crate::progress::Progress;
use crate::runs::{self, Run};
use crate::watch::Target;
use details::{Details, Last};

/// Trials that are shown; the stream has them all.
const MAX_TRIALS: usize = 100_000;

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

/// Carries out `show`.
pub(crate) async fn show(args: &ShowArgs) -> Result<Exit, CliError> {
    let printer = args.shared.output.printer();
    let broker = args.shared.connect().await?;
    let run = args.shared.within(&broker, runs::get(&broker, &args.run)).await?;
    let details = read(&broker, &run, args).await?;
    printer.object(&details, |out| people::write(out, &details))?;
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
    let mut last = Last::default();
    while let Some(event) = events.next().await? {
        let has_changed = progress.take(&event);
        match event.event {
            Event::TrialReported(trial) if has_changed && trials.len() < MAX_TRIALS => {
                trials.insert(trial.trial_id.clone(), trial);
            }
            Event::RunFailed(failed) if has_changed => last.failure = Some(failed.failure),
            Event::RunCancelled(cancelled) if has_changed => last.reason = cancelled.reason,
            Event::RunRequested(_) if has_changed => last = Last::default(),
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
    let family = family(broker, run, args).await;
    Ok(Details::of(run, &progress, trials, last, &family))
}

/// Which MLflow runs they are. A broker that does not say hides nothing else.
async fn family(broker: &Broker, run: &Run, args: &ShowArgs) -> Family {
    let known = match run {
        Run::Known(record, _) => record.mlflow_run_id.as_deref(),
        Run::Asked(_) => None,
    };
    match args.shared.within(broker, of_run(broker, &args.run, known)).await {
        Ok(family) => family,
        Err(error) => {
            output::warning(format!("which MLflow runs the trials are is not known: {error}"));
            Family::default()
        }
    }
}

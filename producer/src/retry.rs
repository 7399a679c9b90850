//! `retry`: asks again for a run that is over, under the same run id.
//!
//! The trials it keeps are not trained again: the next attempt reads them from the stream. Which it keeps is said in a
//! header of the request ([`header::RETRY`]), because it is no part of what the run is.

use schemas::cloudevents::header;
use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::{Event, RunId};
use serde::Serialize;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use service_kit::publish::Outgoing;
use service_kit::registry::RunRecord;
use service_kit::wire::WireArgs;

use crate::connection::Shared;
use crate::runs::{self, Run};
use crate::submit::expiry::{self, ExpiryArgs};
use crate::submit::{envelope, send};

/// The arguments of `retry`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A run that failed or was cancelled goes on: trials that failed or were cancelled are trained \
    again, all others keep their results, pruned ones too. With --only failed, a run that completed with failed \
    trials may be asked for again as well.\n\n\
    Examples:\n  producer retry RUN                  goes on where a failed or cancelled run stopped\n  \
    producer retry RUN --only failed    trains the failed trials of a run again, completed or not"
)]
pub struct RetryArgs {
    /// The run
    #[arg(value_name = "RUN", value_parser = RunId::parse)]
    pub run: RunId,
    /// Train only these trials again
    #[arg(long, value_name = "WHICH", value_enum)]
    pub only: Option<Only>,
    /// Until when it is wanted.
    #[command(flatten)]
    pub expiry: ExpiryArgs,
    /// How the request is written.
    #[command(flatten)]
    pub wire: WireArgs,
    /// Broker, output, timeout.
    #[command(flatten)]
    pub shared: Shared,
}

/// Trials that are trained again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Only {
    /// Those that failed or were cancelled; the run may have completed
    Failed,
}

#[derive(Serialize)]
struct Retried<'a> {
    run_id: &'a RunId,
    /// The attempt that is asked for.
    attempt: u32,
}

/// Carries out `retry`.
pub(crate) async fn retry(args: &RetryArgs) -> Result<Exit, CliError> {
    let broker = args.shared.connect().await?;
    let run = args.shared.within(&broker, runs::get(&broker, &args.run)).await?;
    let record = retryable(&run, args.only)?;
    let message = message(args, &broker, record).await?;
    let published = send(&broker, &message, args.shared.timeout).await?;
    let attempt = record.attempt + 1;
    if published.is_duplicate {
        output::note(format!("run {} was asked for again already", args.run));
    } else {
        output::note(format!("run {} is asked for again, as attempt {attempt}", args.run));
    }
    let retried = Retried { run_id: &args.run, attempt };
    args.shared.output.printer().object(&retried, |out| writeln!(out, "{}", args.run))?;
    Ok(Exit::Done)
}

/// The request the run had, under another message id.
async fn message(args: &RetryArgs, broker: &Broker, record: &RunRecord) -> Result<Outgoing, CliError> {
    let request = request_of(record)?;
    let encoding = args.shared.within(broker, args.wire.ready(broker)).await?;
    let mut message = envelope::outgoing(broker, &Event::from(request), &args.run, 0, encoding)?;
    // Not the id of the first request, which the broker may still drop as a twin; the same for every retry of this
    // attempt, so that asking twice is asking once.
    let id = format!("{}:retry{}:requested::", args.run, record.attempt);
    message.headers.insert(header::MESSAGE_ID, id.as_str());
    message.headers.insert("ce-id", id.as_str());
    expiry::say(&mut message, args.expiry.until());
    if args.only == Some(Only::Failed) {
        message.headers.insert(header::RETRY, header::RETRY_FAILED);
    }
    Ok(message)
}

/// The record of a run that may be asked for again.
fn retryable(run: &Run, only: Option<Only>) -> Result<&RunRecord, CliError> {
    let row = run.row();
    let id = &row.run_id;
    let help = match (run, row.state) {
        (Run::Known(record, None), RunState::Failed | RunState::Cancelled) => return Ok(record),
        (Run::Known(record, None), RunState::Completed) => match (record.failed_trials, only) {
            (0, Some(Only::Failed)) => return Err(nothing_failed(id)),
            (_, Some(Only::Failed)) => return Ok(record),
            (0, None) => format!("`producer show {id} -o json` has its spec; submit it as a new run"),
            (failed, None) => {
                format!("`producer retry {id} --only failed` trains its {failed} failed trials again")
            }
        },
        (Run::Asked(_) | Run::Known(..), _) => {
            format!("`producer watch {id}` follows it, `producer cancel {id}` ends it")
        }
    };
    let what = format!("run {id} is {} and cannot be retried", row.state);
    Err(CliError::new("not-retryable", Exit::InvalidInput, what).help(help))
}

fn nothing_failed(run: &RunId) -> CliError {
    CliError::new("nothing-failed", Exit::InvalidInput, format!("run {run} completed without a failed trial"))
        .help(format!("`producer show {run} -o json` has its spec; submit it as a new run"))
}

fn request_of(record: &RunRecord) -> Result<RunRequested, CliError> {
    let request: RunRequested = serde_json::from_value(record.spec.0.clone()).map_err(|error| {
        CliError::new(
            "spec-lost",
            Exit::InvalidInput,
            format!("the registry has no spec of run {}", record.run_id),
        )
        .because(error)
        .help("submit the spec again under a new run id")
    })?;
    Ok(RunRequested { run_id: Some(record.run_id.clone()), ..request })
}

#[cfg(test)]
mod tests {
    use schemas::Timestamp;
    use service_kit::registry::record::{Claimant, claim};

    use super::*;

    fn record(state: RunState) -> RunRecord {
        let run_id = RunId::parse("r").unwrap();
        let request = RunRequested { seed: Some(7), ..RunRequested::new("iris") };
        let now = Timestamp::from_micros(1);
        let claimant = Claimant {
            run_id: &run_id,
            request: &request,
            sequence: 3,
            delivery: 1,
            is_retry_of_failed: false,
            is_owner_gone: false,
            requested_at: now,
            worker_id: "w",
        };
        RunRecord { state, ..claim(None, &claimant, now).0.unwrap() }
    }

    fn is_retryable(state: RunState, failed_trials: u32, only: Option<Only>) -> bool {
        let run = Run::Known(Box::new(RunRecord { failed_trials, ..record(state) }), None);
        retryable(&run, only).is_ok()
    }

    #[test]
    fn a_failed_or_cancelled_run_is_retried_and_a_completed_one_for_its_failed_trials_only() {
        for state in RunState::ALL {
            let may = matches!(state, RunState::Failed | RunState::Cancelled);
            assert_eq!(is_retryable(state, 2, None), may, "{state}");
            assert_eq!(is_retryable(state, 0, Some(Only::Failed)), may, "{state}");
            let may = may || state == RunState::Completed;
            assert_eq!(is_retryable(state, 2, Some(Only::Failed)), may, "{state}");
        }
    }

    #[test]
    fn a_run_is_asked_for_again_with_the_request_it_had() {
        let request = request_of(&record(RunState::Failed)).unwrap();
        assert_eq!((request.seed, request.run_id.unwrap().as_str()), (Some(7), "r"));
    }
}

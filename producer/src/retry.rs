//! `retry`: asks again for a run that failed or was cancelled, under the same run id.
//!
//! The trials it has are not trained again: the next attempt reads them from the stream.

use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::{Event, RunId};
use serde::Serialize;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use service_kit::registry::RunRecord;
use service_kit::wire::WireArgs;

use crate::connection::Shared;
use crate::runs::{self, Run};
use crate::submit::{envelope, send};

/// The arguments of `retry`.
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// The run
    #[arg(value_name = "RUN", value_parser = RunId::parse)]
    pub run: RunId,
    /// How the request is written.
    #[command(flatten)]
    pub wire: WireArgs,
    /// Broker, output, timeout.
    #[command(flatten)]
    pub shared: Shared,
}

#[derive(Serialize)]
struct Retried<'a> {
    run_id: &'a RunId,
}

/// Carries out `retry`.
pub(crate) async fn retry(args: &RetryArgs) -> Result<Exit, CliError> {
    let broker = args.shared.connect().await?;
    let run = args.shared.within(&broker, runs::get(&broker, &args.run)).await?;
    let record = retryable(&run)?;
    let request = request_of(record)?;
    let encoding = args.shared.within(&broker, args.wire.ready(&broker)).await?;
    let mut message = envelope::outgoing(&broker, &Event::from(request), &args.run, 0, encoding)?;
    // Not the id of the first request, which the broker may still drop as a twin; the same for every retry of this
    // attempt, so that asking twice is asking once.
    let id = format!("{}:retry{}:requested::", args.run, record.attempt);
    message.headers.insert("Nats-Msg-Id", id.as_str());
    message.headers.insert("ce-id", id.as_str());
    let published = send(&broker, &message, args.shared.timeout).await?;
    if published.is_duplicate {
        output::note(format!("run {} was asked for again already", args.run));
    } else {
        output::note(format!("run {} is asked for again, as attempt {}", args.run, record.attempt + 1));
    }
    args.shared
        .output
        .printer()
        .object(&Retried { run_id: &args.run }, |out| writeln!(out, "{}", args.run))?;
    Ok(Exit::Done)
}

/// The record of a run that may be asked for again.
fn retryable(run: &Run) -> Result<&RunRecord, CliError> {
    let row = run.row();
    let refused = |help: String| {
        let what = format!("run {} is {} and cannot be retried", row.run_id, row.state);
        CliError::new("not-retryable", Exit::InvalidInput, what).help(help)
    };
    match (run, row.state) {
        (Run::Known(record, None), RunState::Failed | RunState::Cancelled) => Ok(record),
        (Run::Asked(_), _)
        | (Run::Known(..), RunState::Requested | RunState::Running | RunState::Interrupted) => Err(refused(
            format!("`producer watch {}` follows it, `producer cancel {}` ends it", row.run_id, row.run_id),
        )),
        (Run::Known(..), RunState::Completed | RunState::Failed | RunState::Cancelled) => Err(refused(
            format!("`producer show {} -o json` has its spec; submit it as a new run", row.run_id),
        )),
    }
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
            requested_at: now,
            worker_id: "w",
        };
        RunRecord { state, ..claim(None, &claimant, now).0.unwrap() }
    }

    #[test]
    fn only_a_failed_or_cancelled_run_is_retried_and_with_the_request_it_had() {
        for state in RunState::ALL {
            let run = Run::Known(Box::new(record(state)), None);
            let may = matches!(state, RunState::Failed | RunState::Cancelled);
            assert_eq!(retryable(&run).is_ok(), may, "{state}");
        }
        let request = request_of(&record(RunState::Failed)).unwrap();
        assert_eq!((request.seed, request.run_id.unwrap().as_str()), (Some(7), "r"));
    }
}

//! One search as a run of the broker's: requested, claimed, told.

use std::sync::Arc;
use std::time::Duration;

use schemas::cloudevents::{Context, Headers, Voice, header};
use schemas::event::RunRequested;
use schemas::subject::STREAM;
use schemas::{Event, RunId};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::History;
use service_kit::metrics::Metrics;
use service_kit::output;
use service_kit::publish::{self, Publisher};
use service_kit::registry::{RegistryError, RunRecord};
use service_kit::shutdown::Shutdown;
use service_kit::topology;

use super::{Outcome, RunArgs, outcome_of};
use crate::asked::Asked;
use crate::cli::process_id;
use crate::control::take_cancel_requests;
use crate::course::Course;
use crate::means::Means;
use crate::plan::RunPlan;
use crate::request::Settlement;
use crate::serve::{BROKER_PATIENCE, assemble};
use crate::worker::Worker;

/// What the ids of these processes begin with: the registry keeps who had a run last.
const KIND: &str = "job";
/// How long the broker is asked to take the request.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(30);

/// Carries out the run of this plan and tells what came of it.
pub(super) async fn run(args: &RunArgs, plan: &RunPlan, shutdown: &Shutdown) -> Result<Outcome, CliError> {
    let serve = &args.serve;
    let means = Means::of(serve, process_id(KIND).into())?;
    let broker = Broker::connect(&serve.broker.resolve()?, "bridge-worker-run", BROKER_PATIENCE).await?;
    topology::ensure(&broker).await?;
    let worker = Arc::new(assemble(serve, broker, means, &Metrics::new()).await?);
    let record = worker.registry.get(&plan.run_id).await.map_err(|error| silent(&error))?;
    let asked = match record.map(|held| held.record) {
        Some(record) if record.state.is_final() => {
            output::note(format!("run {} is over already: {}", record.run_id, record.state));
            return told(&worker.broker, plan, record.first_sequence).await;
        }
        Some(record) if record.request_sequence > 0 => known(&record)?,
        // A cancel request that came first leaves a record of a run nobody has asked for.
        Some(_) | None => publish(&worker, args, &plan.request).await?,
    };
    let first = asked.sequence;
    let cancels = tokio::spawn(take_cancel_requests(worker.clone(), shutdown.clone()));
    let settlement = Course::new(worker.clone(), asked, Arc::default()).run(shutdown).await;
    cancels.abort();
    worker.slots.close().await;
    worker.broker.flush().await;
    match settlement {
        Settlement::Ack | Settlement::Reject(_) | Settlement::Again(_) => {}
        Settlement::Leave => return Err(taken_over(&plan.run_id)),
    }
    told(&worker.broker, plan, first).await
}

/// A run that a process like this one has left behind goes on; anybody else's is not ours to take.
fn known(record: &RunRecord) -> Result<Asked, CliError> {
    let holder = record.worker_id.as_deref().unwrap_or("no worker yet");
    if !holder.starts_with(KIND) {
        let what = format!("run {} was submitted to the workers that serve ({holder})", record.run_id);
        return Err(CliError::new("run-elsewhere", Exit::InvalidInput, what)
            .help(format!("`producer watch {}` follows it; give another --run-id", record.run_id)));
    }
    let asked = Asked::remembered(record).ok_or_else(|| {
        CliError::new("spec-lost", Exit::InvalidInput, format!("the spec of run {} is lost", record.run_id))
            .help("give another --run-id")
    })?;
    output::note(format!("run {} goes on after attempt {}", record.run_id, record.attempt));
    // What the broker does for workers that serve: the holder before is late from now on.
    Ok(Asked { delivery: record.delivery + 1, ..asked })
}

/// Asks for the run on the stream, reserved for this process.
async fn publish(worker: &Worker, args: &RunArgs, request: &RunRequested) -> Result<Asked, CliError> {
    let run_id = request.run_id.clone().expect("it was given one");
    let context = Context {
        source: format!("/cerebros/bridge-worker/{}", worker.id),
        correlation_id: request.correlation_id.clone(),
        ..Context::default()
    };
    let unpublished = |error: &dyn std::fmt::Display| {
        CliError::new("publish-unconfirmed", Exit::Unreachable, "the request was not confirmed by the broker")
            .because(error)
            .help("the same command with the same --run-id is safe to repeat")
    };
    let event = Event::from(request.clone());
    let publisher = Publisher::new(&worker.broker, args.serve.wire.encoding.into());
    let prepared = publisher.prepare(&event, &Voice::outside(run_id.clone(), context));
    let mut message = prepared.map_err(|error| unpublished(&error))?;
    message.headers.insert(header::RESERVED, &*worker.id);
    let sent = publish::send(&worker.broker, &message, PUBLISH_PATIENCE).await;
    let published = sent.map_err(|error| unpublished(&error))?;
    let mut headers = Headers::default();
    headers.0.push((header::RESERVED.to_owned(), worker.id.to_string()));
    Ok(Asked {
        run_id,
        request: request.clone(),
        sequence: published.sequence,
        delivery: 1,
        at: clock::now(),
        headers,
        cancelled: None,
        is_owner_gone: false,
    })
}

/// What the stream has of the run, which is what everybody else sees of it.
async fn told(broker: &Broker, plan: &RunPlan, first: u64) -> Result<Outcome, CliError> {
    let mut outcome = outcome_of(plan);
    let mut history = History::to_the_present(broker, STREAM, &[], first.max(1)).await?;
    while let Some(kept) = history.next().await? {
        if kept.headers.get(header::RUN_ID) != Some(plan.run_id.as_str()) {
            continue;
        }
        if let Ok(decoded) = kept.decode() {
            outcome.take(&decoded.event);
        }
    }
    Ok(outcome)
}

fn taken_over(run: &RunId) -> CliError {
    CliError::new("run-taken-over", Exit::LocalResource, format!("another process has taken run {run} over"))
        .help(format!("`producer watch {run}` follows it"))
}

fn silent(error: &RegistryError) -> CliError {
    CliError::new("registry-silent", Exit::Unreachable, "the run registry does not answer")
        .because(error)
        .help("`bridge-worker validate` looks at the broker")
}

#[cfg(test)]
mod tests {
    use schemas::Json;
    use schemas::lifecycle::RunState;

    use super::*;

    #[test]
    fn only_a_run_of_a_process_like_this_goes_on_and_under_a_later_hand_over() {
        let mut record: RunRecord = serde_json::from_value(serde_json::json!({
            "run_id": "r", "state": "running", "attempt": 1, "dataset_id": "digits", "objective": "accuracy",
            "budget": {}, "spec": {"dataset_id": "digits"}, "request_sequence": 7, "delivery": 1,
            "first_sequence": 7, "worker_id": "job-1-abcdef", "requested_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap();
        assert_eq!(record.state, RunState::Running);
        let asked = known(&record).unwrap();
        assert_eq!((asked.sequence, asked.delivery), (7, 2));
        record.worker_id = Some("worker-1-abcdef".to_owned());
        assert_eq!(known(&record).unwrap_err().code, "run-elsewhere");
        record.worker_id = Some("job-1-abcdef".to_owned());
        record.spec = Json(serde_json::json!("lost"));
        assert_eq!(known(&record).unwrap_err().code, "spec-lost");
    }
}

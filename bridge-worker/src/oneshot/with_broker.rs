//! One search as a run of the broker's: requested, claimed, told.

use std::sync::Arc;
use std::time::Duration;

use schemas::cloudevents::{Context, Headers, Voice, header};
use schemas::event::RunRequested;
use schemas::{Event, RunId};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use service_kit::publish::{self, Publisher};
use service_kit::registry::RegistryError;
use service_kit::shutdown::Shutdown;
use service_kit::topology;

use super::identity::{KIND, asked_before, known, published_before};
use super::pages::Pages;
use super::stream::{show, told};
use super::{Lines, Outcome, RunArgs, hold};
use crate::asked::Asked;
use crate::cli::process_id;
use crate::control::take_cancel_requests;
use crate::course::Course;
use crate::means::Means;
use crate::plan::RunPlan;
use crate::request::Settlement;
use crate::serve::{BROKER_PATIENCE, assemble, have_the_last_word};
use crate::worker::Worker;

/// How long the broker is asked to take the request.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(30);

/// Carries out the run of this plan and tells what came of it.
pub(super) async fn run(
    args: &RunArgs,
    plan: &RunPlan,
    shutdown: &Shutdown,
    lines: &mut Lines,
) -> Result<Outcome, CliError> {
    let serve = &args.serve;
    let pages = Pages::open(serve, shutdown).await?;
    let means = Means::of(serve, process_id(KIND).into())?;
    let broker = Broker::connect(&serve.broker.resolve()?, "bridge-worker-run", BROKER_PATIENCE).await?;
    topology::ensure(&broker).await?;
    let worker = Arc::new(assemble(serve, broker, means, &pages.metrics).await?);
    let record = worker.registry.get(&plan.run_id).await.map_err(|error| silent(&error))?;
    let (asked, first) = match record.map(|held| held.record) {
        Some(record) if record.state.is_final() => {
            asked_before(&record, &plan.request)?;
            output::note(format!("run {} is over already: {}", record.run_id, record.state));
            return told(&worker.broker, plan, record.first_sequence, lines).await;
        }
        Some(record) if record.request_sequence > 0 => {
            (known(&record, &plan.request)?, record.first_sequence)
        }
        // A cancel request that came first leaves a record of a run nobody has asked for.
        Some(_) | None => {
            let asked = publish(&worker, args, &plan.request).await?;
            let first = asked.sequence;
            (asked, first)
        }
    };
    let _hold = hold(shutdown);
    let mut helpers = pages.keep(&worker.gauges, &worker.slots, Some(&worker.broker));
    helpers.spawn(take_cancel_requests(worker.clone(), shutdown.clone()));
    helpers.spawn(have_the_last_word(worker.last_word.clone(), shutdown.clone()));
    let settlement = tokio::select! {
        settlement = Course::new(worker.clone(), asked, Arc::default()).run(shutdown) => settlement,
        error = worker.broker.gone() => {
            worker.close_cache().await;
            return Err(error);
        }
        never = show(&worker.broker, &plan.run_id, first, lines) => match never {},
    };
    worker.close().await;
    match settlement {
        Settlement::Ack | Settlement::Reject(_) | Settlement::Again(_) => {}
        Settlement::Leave if worker.last_word.is_cancelled() => return Err(untold(&plan.run_id, shutdown)),
        Settlement::Leave => return Err(taken_over(&plan.run_id)),
    }
    tokio::select! {
        outcome = told(&worker.broker, plan, first, lines) => match outcome {
            Err(_) if shutdown.is_draining() => Err(untold(&plan.run_id, shutdown)),
            outcome => outcome,
        },
        () = worker.last_word.cancelled() => Err(untold(&plan.run_id, shutdown)),
    }
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
    if published.is_duplicate {
        return published_before(&worker.broker, &run_id, published.sequence, request).await;
    }
    let mut headers = Headers::default();
    headers.0.push((header::RESERVED.to_owned(), worker.id.to_string()));
    Ok(Asked {
        run_id,
        request: request.clone(),
        sequence: published.sequence,
        delivery: 1,
        at: clock::now(),
        headers,
        expires: None,
        cancelled: None,
        is_owner_gone: false,
    })
}

/// The broker did not answer until there was no more time to wait for it.
fn untold(run: &RunId, shutdown: &Shutdown) -> CliError {
    let exit = shutdown.interrupted().unwrap_or(Exit::Unreachable);
    CliError::new("end-untold", exit, format!("the broker does not answer; how run {run} stands is not told"))
        .help(format!("the same command with --run-id {run} goes on where it was"))
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

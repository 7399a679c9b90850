//! Our side: the smallest run there is, one no-op trial.

use std::sync::atomic::{AtomicU64, Ordering};

use schemas::event::RunRequested;
use schemas::{Encoding, Event, RunId};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::publish::{Publisher, Voice};

use crate::stream_client::StreamClient;
use crate::timings::Timings;

/// Every way a run can end.
const ENDINGS: &[&str] =
    &["cerebros.nas.run.completed", "cerebros.nas.run.failed", "cerebros.nas.run.cancelled"];

/// A request and an ending, for peers that shall have the same sizes.
pub(crate) struct Sample {
    /// JSON.
    pub(crate) request: String,
    /// JSON.
    pub(crate) ending: String,
}

/// The client of our runs, each of which is asked for by what `request` makes of its id.
pub(crate) fn client(
    broker: Broker,
    request: impl Fn(&RunId) -> RunRequested + Send + Sync + 'static,
) -> StreamClient {
    let publisher = Publisher::new(&broker, Encoding::Json);
    let requests = publisher.clone();
    StreamClient {
        broker,
        publisher,
        endings_in: schemas::subject::STREAM,
        ending_subjects: ENDINGS,
        success: "cerebros.nas.run.completed",
        request: Box::new(move || {
            let run = next_run();
            let event = Event::from(request(&run));
            let voice = Voice::outside(
                run.clone(),
                schemas::cloudevents::Context { source: "/cerebros/bench".to_owned(), ..Default::default() },
            );
            let message = requests.prepare(&event, &voice);
            let message =
                message.map_err(|error| CliError::internal("a request cannot be written").because(error))?;
            Ok((message, run.to_string()))
        }),
        identity: schemas::cloudevents::header::RUN_ID,
    }
}

/// Executes some runs to warm everything up, and returns what went over the wire.
pub(crate) async fn sample(client: &StreamClient, runs: usize) -> Result<Sample, CliError> {
    let ending = client.latency(runs, &mut Timings::new()).await?;
    let (request, _) = (client.request)()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Sample { request: text(&request.payload), ending: text(&ending.payload) })
}

/// One trial that trains nothing.
pub(crate) fn noop(run: &RunId) -> RunRequested {
    let request = serde_json::json!({
        "run_id": run.as_str(),
        "dataset_id": "digits",
        "trainer": "noop",
        "strategy": "random",
        "search_space": {"x": [0.5]},
        "budget": {"max_trials": 1},
    });
    serde_json::from_value(request).expect("a request written here is valid")
}

fn next_run() -> RunId {
    static COUNTED: AtomicU64 = AtomicU64::new(0);
    let number = COUNTED.fetch_add(1, Ordering::Relaxed);
    RunId::derive("bench", number, u64::try_from(clock::now().millis()).unwrap_or_default())
}

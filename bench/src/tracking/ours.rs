//! Events for the sink, and when it has settled them.

use std::time::Duration;

use schemas::cloudevents::Voice;
use schemas::event::MetricReported;
use schemas::subject::STREAM;
use schemas::{Encoding, Event, Timestamp, TrialId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::publish::Publisher;
use service_kit::topology::SINK_CONSUMER;
use tokio::time::Instant;

use crate::contracts::{run_started, trials as specimens, voice};
use crate::faults;

/// Hundred thousand values take a minute.
const SETTLE_LIMIT: Duration = Duration::from_secs(900);
/// Pause between two looks at the consumer, which takes seconds: what is measured by it is late by at most this and one
/// answer, and looking more often would take the processor away from what is measured.
const POLL: Duration = Duration::from_millis(25);

/// How long the sink takes for one run's trials.
pub(super) async fn trials(broker: &Broker, run: &str, count: u32) -> Result<Duration, CliError> {
    let voice = voice(run);
    let mut events = vec![run_started(&voice)?];
    events.extend(specimens(&voice, count));
    let began = Instant::now();
    publish(broker, &events, &voice).await?;
    settled(broker).await?;
    Ok(began.elapsed())
}

/// How long it takes for values of one metric, spread over runs of one trial each.
pub(super) async fn values(broker: &Broker, runs: &[String], count: u32) -> Result<Duration, CliError> {
    let began = Instant::now();
    publish_values(broker, runs, count).await?;
    settled(broker).await?;
    Ok(began.elapsed())
}

/// Publishes values of one metric, the same number for each run, in turns.
pub(super) async fn publish_values(broker: &Broker, runs: &[String], count: u32) -> Result<(), CliError> {
    let voices: Vec<Voice> = runs.iter().map(|run| voice(run)).collect();
    let each = i64::from(count) / i64::try_from(runs.len()).unwrap_or(1);
    for voice in &voices {
        publish(broker, &[run_started(voice)?], voice).await?;
    }
    const AT_ONCE: i64 = 1000;
    for from in (0..each).step_by(usize::try_from(AT_ONCE).unwrap_or(1)) {
        for voice in &voices {
            let values: Vec<Event> =
                (from..each.min(from + AT_ONCE)).map(|step| value(voice, step)).collect();
            publish(broker, &values, voice).await?;
        }
    }
    Ok(())
}

/// Returns when the sink has nothing left to do.
pub(super) async fn settled(broker: &Broker) -> Result<(), CliError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        CliError::internal("the sink's consumer cannot be read").because(error.to_string())
    };
    let stream = broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| unreadable(&error))?;
    let began = Instant::now();
    while began.elapsed() < SETTLE_LIMIT {
        let info = stream.consumer_info(SINK_CONSUMER).await.map_err(|error| unreadable(&error))?;
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
    Err(faults::silent("the sink's last ack", SETTLE_LIMIT))
}

async fn publish(broker: &Broker, events: &[Event], voice: &Voice) -> Result<(), CliError> {
    let published = Publisher::new(broker, Encoding::Json).publish_all(events, voice).await;
    published.map(drop).map_err(|error| CliError::internal("an event was not published").because(error))
}

fn value(voice: &Voice, step: i64) -> Event {
    MetricReported {
        run_id: voice.run.clone(),
        trial_id: TrialId::numbered(&voice.run, 0),
        name: "loss".to_owned(),
        value: (1.0 / (f64::from(i32::try_from(step).unwrap_or(i32::MAX)) + 1.0)).into(),
        step,
        recorded_at: Timestamp::from_micros(1_769_860_800_000_000 + step * 1000),
        attempt: Some(1),
    }
    .into()
}

//! Streams with something in them.

use schemas::cloudevents::{self, Headers};
use schemas::dead_letter::{Place, Verdict};
use schemas::subject::STREAM;
use schemas::{Encoding, Failure, FailureClass, Stage, Timestamp};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::publish::{Outgoing, Publisher, to_header_map};
use service_kit::topology::CLASSIFIER_CONSUMER;

use crate::contracts::{publish_raw, raw_publishing, run_started, trials as specimens, voice};

/// Messages prepared at once.
const PART: u32 = 20_000;
const TRIAL: &str = "ml.run.trial";
/// Subject of the dead letters.
const KEPT_ON: &str = "cerebros.dlq.validation.ml.run.trial";
/// Payload of a letter.
const LETTER_BYTES: usize = 400;
/// Faults that are told apart.
const FAULTS: u64 = 50;

/// Puts so many valid events on the event stream: trials, and of each run the announcement before them.
pub(super) async fn trials(broker: &Broker, count: u32) -> Result<(), CliError> {
    for part in 0..count.div_ceil(PART) {
        let size = PART.min(count - part * PART);
        let run = format!("bench-letters-{part}");
        announce(broker, &run).await?;
        raw_publishing(broker, &run, size - 1).await?;
    }
    Ok(())
}

/// Trials of a run nobody has heard of become dead letters.
async fn announce(broker: &Broker, run: &str) -> Result<(), CliError> {
    let voice = voice(run);
    let started = run_started(&voice)?;
    let published = Publisher::new(broker, Encoding::Json).publish_all(&[started], &voice).await;
    published.map(drop).map_err(|error| CliError::internal("a run was not announced").because(error))
}

/// Puts dead letters into the queue: half of messages of plain clients, half of messages with a full envelope.
pub(super) async fn letters(broker: &Broker, count: u32) -> Result<(), CliError> {
    let voice = voice("019a0000-0000-7000-8000-000000000000");
    let event = specimens(&voice, 1).remove(0);
    let enveloped = cloudevents::headers(&event, &voice, Encoding::Json, clock::now());
    for start in (0..count).step_by(PART as usize) {
        let letter = |number: u32| {
            let original = if number.is_multiple_of(2) { Headers::default() } else { enveloped.clone() };
            letter(u64::from(number) + 1, &original)
        };
        let messages: Vec<Outgoing> = (start..(start + PART).min(count)).map(letter).collect();
        publish_raw(broker, KEPT_ON, messages).await?;
    }
    Ok(())
}

fn letter(sequence: u64, original: &Headers) -> Outgoing {
    let place = Place {
        stream: STREAM.to_owned(),
        sequence,
        consumer: CLASSIFIER_CONSUMER.to_owned(),
        subject: TRIAL.to_owned(),
        deliveries: 1,
        first_seen: Timestamp::from_micros(1_769_860_800_000_000 + i64::try_from(sequence).unwrap_or(0)),
    };
    let fault = sequence % FAULTS;
    let reason = format!("TrialReported v2: metrics.metric_{fault}: expected a number, found a string");
    let failure = Failure::new(FailureClass::Validation, Stage::Decode, reason);
    let verdict = Verdict::new(&place, &failure, clock::now(), original).of_run(Some(format!("run-{fault}")));
    Outgoing {
        subject: KEPT_ON.to_owned(),
        headers: to_header_map(&verdict.headers(original, &place.message_id())),
        payload: vec![b'x'; LETTER_BYTES].into(),
    }
}

/// Last sequence of the event stream.
pub(super) async fn last_sequence(broker: &Broker) -> Result<u64, CliError> {
    let stream = broker.jetstream.get_stream(STREAM).await;
    stream.map(|stream| stream.cached_info().state.last_sequence).map_err(|error| {
        CliError::new("no-stream", Exit::Unreachable, "the event stream cannot be looked at").because(error)
    })
}

//! A request as the message it becomes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemas::cloudevents::{self, Context, Voice, header};
use schemas::event::RunRequested;
use schemas::{Encoding, Event, RunId, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::publish::{Outgoing, Publisher};

/// Who speaks.
const SOURCE: &str = "/cerebros/producer";

/// A message, laid open.
#[derive(Debug, Serialize)]
pub(crate) struct Message {
    subject: &'static str,
    headers: Map<String, Value>,
    /// The event; in Avro the payload says the same.
    data: Value,
    /// The payload when it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// What would be published at `time`, and is wanted until then.
pub(super) fn message(
    request: &RunRequested,
    run: &RunId,
    encoding: Encoding,
    time: Timestamp,
    expires: Option<Timestamp>,
) -> Result<Message, CliError> {
    let event = Event::from(request.clone());
    let payload = schemas::codec::encode(&event, encoding).map_err(unwritable)?;
    let voice = Voice::outside(run.clone(), context(request.correlation_id.clone()));
    let mut headers = cloudevents::headers(&event, &voice, encoding, time);
    headers.push_some(header::EXPIRY, expires.map(|expires| expires.to_string()));
    Ok(Message {
        subject: event.record().subject(),
        headers: headers.0.into_iter().map(|(name, value)| (name, Value::String(value))).collect(),
        data: event.to_json(),
        payload_base64: match encoding {
            Encoding::Json => None,
            Encoding::Avro => Some(BASE64_STANDARD.encode(payload)),
        },
    })
}

/// The message of an event about a run, ready to be sent. `attempt` 0 speaks for no attempt.
pub(crate) fn outgoing(
    broker: &Broker,
    event: &Event,
    run: &RunId,
    attempt: u32,
    encoding: Encoding,
) -> Result<Outgoing, CliError> {
    let correlation = match event {
        Event::RunRequested(request) => request.correlation_id.clone(),
        Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunCompleted(_)
        | Event::RunFailed(_)
        | Event::RunCancelled(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::TrialReported(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => None,
    };
    let voice = Voice { attempt, ..Voice::outside(run.clone(), context(correlation)) };
    Publisher::new(broker, encoding).prepare(event, &voice).map_err(unwritable)
}

fn context(correlation_id: Option<String>) -> Context {
    Context { source: SOURCE.to_owned(), correlation_id, ..Context::default() }
}

fn unwritable(error: impl std::fmt::Display) -> CliError {
    CliError::new("request-unwritable", Exit::InvalidInput, "the request cannot be written").because(error)
}

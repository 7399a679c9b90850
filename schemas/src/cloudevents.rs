//! The envelope: CloudEvents 1.0. Binary mode (`ce-*` headers) on everything we publish, structured mode
//! (`application/cloudevents+json`) understood as well, no headers at all taken as JSON (see `codec/content.rs`).

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::codec::Encoding;
pub use crate::headers::{HeaderSource, Headers, header};
use crate::{Event, RunId, Timestamp};

/// What an attribute's value may not hold in a header as it is (CloudEvents, NATS and HTTP bindings, 3.1.3.2): beside
/// these, everything that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// What the envelope says beside the event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// Who speaks, such as `/cerebros/bridge-worker/<worker id>`.
    pub source: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Message that caused this one.
    pub causation_id: Option<String>,
    /// Identity that follows the request.
    pub correlation_id: Option<String>,
}

/// The run, attempt and epoch an event speaks for, and the envelope beside it.
#[derive(Debug, Clone)]
pub struct Voice {
    /// The run.
    pub run: RunId,
    /// The attempt, 0 for whoever is no attempt.
    pub attempt: u32,
    /// See [`Event::message_id`].
    pub epoch: u32,
    /// The envelope beside it.
    pub context: Context,
}

impl Voice {
    /// Speaks about a run without being an attempt of it.
    pub fn outside(run: RunId, context: Context) -> Self {
        Self { run, attempt: 0, epoch: 0, context }
    }
}

/// The headers of an event we publish.
pub fn headers(event: &Event, voice: &Voice, encoding: Encoding, time: Timestamp) -> Headers {
    let Voice { run, attempt, epoch, context } = voice;
    let record = event.record();
    let id = attribute(&event.message_id(run, *attempt, *epoch));
    let mut headers = Headers(Vec::with_capacity(14));
    headers.push(header::MESSAGE_ID, id.clone());
    headers.push("ce-specversion", "1.0");
    headers.push("ce-id", id);
    headers.push("ce-type", record.ce_type());
    headers.push("ce-source", attribute(&context.source));
    headers.push("ce-subject", run.as_str());
    headers.push("ce-time", time.to_string());
    headers.push("ce-dataschema", record.ce_dataschema());
    headers.push(header::CONTENT_TYPE, encoding.content_type());
    headers.push_some(header::TRACEPARENT, context.traceparent.clone());
    headers.push(header::RUN_ID, run.as_str());
    if *attempt > 0 {
        headers.push(header::ATTEMPT, attempt.to_string());
    }
    headers.push_some(header::CAUSATION_ID, context.causation_id.clone());
    headers.push(header::CORRELATION_ID, context.correlation_id.clone().unwrap_or_else(|| run.to_string()));
    headers
}

/// The value of an attribute as a header carries it.
pub fn attribute(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

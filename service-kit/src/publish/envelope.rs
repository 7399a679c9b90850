//! Headers: ours as the client takes them, the client's as ours, and those of many events of one voice at a low price.

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use schemas::cloudevents::{self, Headers, Voice, header};
use schemas::{Encoding, Event, Record, Timestamp};

const CE_ID: HeaderName = HeaderName::from_static("ce-id");
const CE_TIME: HeaderName = HeaderName::from_static("ce-time");
/// What differs between two events of one record and one voice.
const VARYING: [&str; 3] = [header::MESSAGE_ID, "ce-id", "ce-time"];

/// The envelope of one voice's events, which is the same for all events of a record but for their ids and times. The
/// same part is made once and copied.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    voice: &'a Voice,
    encoding: Encoding,
    more: HeaderMap,
    same: Vec<(Record, HeaderMap)>,
}

impl<'a> Envelope<'a> {
    /// The envelope of a voice in an encoding.
    pub(super) fn new(voice: &'a Voice, encoding: Encoding) -> Self {
        Self { voice, encoding, more: HeaderMap::new(), same: Vec::new() }
    }

    /// The same with more headers.
    pub(super) fn with(self, more: HeaderMap) -> Self {
        Self { more, ..self }
    }

    /// The headers of an event that is published now.
    pub(super) fn headers(&mut self, event: &Event, now: Timestamp) -> HeaderMap {
        let mut headers = self.same(event, now).clone();
        let id =
            cloudevents::attribute(&event.message_id(&self.voice.run, self.voice.attempt, self.voice.epoch));
        put(&mut headers, CE_TIME, now.to_string());
        put(&mut headers, CE_ID, id.clone());
        put(&mut headers, NATS_MESSAGE_ID, id);
        headers
    }

    fn same(&mut self, event: &Event, now: Timestamp) -> &HeaderMap {
        let record = event.record();
        let known = self.same.iter().position(|(of, _)| *of == record);
        let index = known.unwrap_or_else(|| {
            let mut headers = cloudevents::headers(event, self.voice, self.encoding, now);
            headers.0.retain(|(name, _)| !VARYING.contains(&name.as_str()));
            let mut headers = to_header_map(&headers);
            for (name, values) in self.more.iter() {
                values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
            }
            self.same.push((record, headers));
            self.same.len() - 1
        });
        &self.same[index].1
    }
}

/// The headers of one event alone.
pub(super) fn headers_of(event: &Event, voice: &Voice, encoding: Encoding, now: Timestamp) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in cloudevents::headers(event, voice, encoding, now).0 {
        match known(&name) {
            Some(name) => put(&mut map, name, value),
            None => append(&mut map, &name, &value),
        }
    }
    map
}

/// Names every event has, which need not be checked and copied.
const KNOWN: [HeaderName; 14] = [
    NATS_MESSAGE_ID,
    HeaderName::from_static("ce-specversion"),
    CE_ID,
    HeaderName::from_static("ce-type"),
    HeaderName::from_static("ce-source"),
    HeaderName::from_static("ce-subject"),
    CE_TIME,
    HeaderName::from_static("ce-dataschema"),
    HeaderName::from_static(header::CONTENT_TYPE),
    HeaderName::from_static(header::TRACEPARENT),
    HeaderName::from_static(header::RUN_ID),
    HeaderName::from_static(header::ATTEMPT),
    HeaderName::from_static(header::CAUSATION_ID),
    HeaderName::from_static(header::CORRELATION_ID),
];

fn known(name: &str) -> Option<HeaderName> {
    KNOWN.iter().find(|known| AsRef::<str>::as_ref(*known) == name).cloned()
}

/// Adds a header unless the protocol cannot carry it.
fn put(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if value.contains(['\r', '\n']) {
        tracing::warn!(header = %name, "header cannot be written and is left out");
        return;
    }
    headers.insert(name, HeaderValue::from(value));
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
        (Ok(name), Ok(value)) => headers.append(name, value),
        _ => tracing::warn!(header = name, "header cannot be written and is left out"),
    }
}

/// Our headers as the client takes them. A header the protocol cannot carry is left out.
pub fn to_header_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in &headers.0 {
        append(&mut map, name, value);
    }
    map
}

/// The client's headers as ours.
pub fn from_header_map(map: Option<&HeaderMap>) -> Headers {
    let Some(map) = map else { return Headers::default() };
    let pairs = map.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| (name.to_owned(), value.as_str().to_owned()))
    });
    let mut headers = Headers(pairs.collect());
    headers.0.sort();
    headers
}

#[cfg(test)]
mod tests {
    use schemas::RunId;
    use schemas::cloudevents::Context;
    use schemas::event::{MetricReported, RunCancelRequested, TrialReported, TrialStatus};

    use super::*;

    fn trial(run: &RunId, id: &str) -> Event {
        TrialReported::new(run.clone(), schemas::TrialId::from_text(id), TrialStatus::Succeeded).into()
    }

    #[test]
    fn the_headers_of_each_event_are_those_the_contract_gives_it() {
        let run = RunId::parse("run-1").unwrap();
        let context =
            Context { source: "/here".to_owned(), causation_id: Some("c".to_owned()), ..Context::default() };
        let voice = Voice { run: run.clone(), attempt: 3, epoch: 2, context };
        let cancel = RunCancelRequested { run_id: run.clone(), reason: None };
        let metric = MetricReported {
            run_id: run.clone(),
            trial_id: schemas::TrialId::from_text("a"),
            name: "gradient norm 100%".to_owned(),
            value: 1.0.into(),
            step: 1,
            recorded_at: Timestamp::default(),
            attempt: None,
        };
        let events: [Event; 5] =
            [trial(&run, "a"), cancel.into(), trial(&run, "b"), metric.into(), trial(&run, "c")];
        for encoding in [Encoding::Json, Encoding::Avro] {
            let mut envelope = Envelope::new(&voice, encoding);
            for (millis, event) in (1..).zip(&events) {
                let now = Timestamp::from_micros(1_769_860_800_000_000 + millis * 1000);
                let expected = to_header_map(&cloudevents::headers(event, &voice, encoding, now));
                assert_eq!(envelope.headers(event, now), expected);
                assert_eq!(headers_of(event, &voice, encoding, now), expected);
            }
        }
    }

    #[test]
    fn a_header_that_would_break_the_protocol_is_left_out() {
        let run = RunId::parse("run-1").unwrap();
        let context = Context { traceparent: Some("a\r\nb".to_owned()), ..Context::default() };
        let voice = Voice::outside(run.clone(), context);
        let headers = Envelope::new(&voice, Encoding::Json).headers(&trial(&run, "a"), Timestamp::default());
        assert_eq!(headers.get("traceparent"), None);
        assert_eq!(headers.get("ce-specversion").map(HeaderValue::as_str), Some("1.0"));
    }
}

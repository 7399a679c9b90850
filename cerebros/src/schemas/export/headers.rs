//! The headers of events and dead letters, described once for every document. That the lists are complete is a test.

use schemas::cloudevents::{self, Context, Headers, Voice, header};
use schemas::codec::{self, Encoding};
use schemas::{Event, Record, RunId, Timestamp, expiry};
use service_kit::error::CliError;

use super::unwritable;
use crate::schemas::{corpus, facts};

/// One header.
pub(super) struct Header {
    pub(super) name: &'static str,
    pub(super) is_always: bool,
    pub(super) doc: &'static str,
}

const fn always(name: &'static str, doc: &'static str) -> Header {
    Header { name, is_always: true, doc }
}

const fn sometimes(name: &'static str, doc: &'static str) -> Header {
    Header { name, is_always: false, doc }
}

/// What every event we publish carries.
pub(super) const EVENT: [Header; 14] = [
    always(
        "Nats-Msg-Id",
        "Message id; the broker drops a second message with the same id within two minutes.",
    ),
    always("ce-specversion", "Version of CloudEvents: `1.0`."),
    always("ce-id", "The message id again."),
    always(
        "ce-type",
        "The subject and the generation of the contract, such as `cerebros.nas.run.started.v1`.",
    ),
    always("ce-source", "Who speaks, such as `/cerebros/bridge-worker/<worker id>`."),
    always("ce-subject", "The run."),
    always("ce-time", "When it was published, UTC, ISO-8601."),
    always("ce-dataschema", "`cerebros:<record>:<version>:<fingerprint>` of the schema it was written with."),
    always("Content-Type", "`application/json` or `application/avro`."),
    sometimes("traceparent", "W3C trace context of the request, where it had one."),
    always("Cerebros-Run-Id", "The run."),
    sometimes("Cerebros-Attempt", "Attempt of the run that speaks, from 1: the fence. Requests have none."),
    sometimes("Cerebros-Causation-Id", "Message id of the request that led to this event, where it had one."),
    always(
        "Cerebros-Correlation-Id",
        "Identity that follows the request through all systems; the run if none was given.",
    ),
];

/// What a request for a run may carry beside them.
pub(super) const REQUEST: [Header; 1] = [sometimes(
    "ce-expirytime",
    "When the run is no longer wanted, RFC 3339 (the CloudEvents extension `expirytime`): a request no worker has taken \
     by then is refused as `expired`. Whatever is no time there makes the request invalid.",
)];

/// What a dead letter carries beside the headers of the original.
pub(super) const DEAD_LETTER: [Header; 18] = [
    always(
        "Nats-Msg-Id",
        "`dlq:<stream>:<sequence>:<consumer>`, so that one cause makes one dead letter; with `:<first seen, in microseconds>` behind it where another message had that sequence before.",
    ),
    always("Cerebros-Dlq-Id", "Identity of the entry, as `cerebros dlq list` shows it."),
    always("Cerebros-Dlq-Class", "Class of the fault; one of the closed set of failure classes."),
    always("Cerebros-Dlq-Stage", "Where it showed: `decode`, `validate`, `execute`, `publish` or `sink`."),
    always("Cerebros-Dlq-Reason", "The failing path and what was expected, one line of at most 1 KiB."),
    always("Cerebros-Dlq-Fingerprint", "Short hash that is equal for equal faults."),
    always("Cerebros-Dlq-Stream", "Stream the message was in."),
    always("Cerebros-Dlq-Sequence", "Its sequence there."),
    always("Cerebros-Dlq-Consumer", "Consumer that could not handle it."),
    always("Cerebros-Dlq-Subject", "Subject it came on."),
    always("Cerebros-Dlq-Deliveries", "Deliveries it took."),
    always("Cerebros-Dlq-First-Seen", "When the stream took it in, UTC, ISO-8601."),
    always("Cerebros-Dlq-Seen", "When it was given up, UTC, ISO-8601."),
    always("Cerebros-Dlq-Replays", "How often it had been replayed before."),
    sometimes("Cerebros-Dlq-Cause", "Class of the fault itself, where the class is `replay_loop`."),
    sometimes("Cerebros-Dlq-Run", "Run it belongs to, as far as that could be told."),
    sometimes(
        "Cerebros-Dlq-Payload",
        "`gone` where the message had left its stream before anybody looked, `left` where it is too large to be kept with a verdict and is still there: the letter is all there is.",
    ),
    sometimes(
        "Cerebros-Dlq-Header-Bytes",
        "Bytes of the header block of the original, which stands in front of its payload where the broker has no room for it among the headers (64 KiB).",
    ),
];

/// The complete example of a record, and the headers it would be published with.
pub(super) fn example(record: Record) -> Result<(Event, Headers), CliError> {
    let text = corpus::full(record).as_bytes();
    let event = codec::decode(record.subject(), &Headers::default(), text).map_err(unwritable)?.event;
    let is_request = !facts::is_published_by_us(record);
    let context = Context {
        source: if is_request { "/cerebros/producer" } else { "/cerebros/bridge-worker/worker-7.local" }
            .to_owned(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        causation_id: (!is_request).then(|| format!("{RUN}:0:requested::")),
        correlation_id: Some("ticket-4711".to_owned()),
    };
    let run = event.run_id().cloned().map_or_else(|| RunId::parse(RUN), Ok).map_err(unwritable)?;
    let attempt = if is_request { 0 } else { event.attempt().unwrap_or(3) };
    let voice = Voice { run, attempt, epoch: 0, context };
    let time = Timestamp::parse(TIME).map_err(unwritable)?;
    let mut headers = cloudevents::headers(&event, &voice, Encoding::Json, time);
    if expiry::may_expire(record) {
        headers.push(header::EXPIRY, EXPIRY);
    }
    Ok((event, headers))
}

/// The run of the recorded examples.
const RUN: &str = "0193a7c4-5b1e-7c3a-9d2e-1f6a8b4c2d10";
/// When the examples claim to have been published.
const TIME: &str = "2026-11-22T05:26:03.5Z";
/// Until when the request among them is wanted: for an hour.
const EXPIRY: &str = "2026-11-22T06:26:03.5Z";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemas::dead_letter::{Place, Verdict};
    use schemas::{Failure, FailureClass, Stage};

    use super::*;

    fn names(headers: &Headers) -> BTreeSet<&str> {
        headers.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn described(list: &'static [Header], is_always: bool) -> BTreeSet<&'static str> {
        list.iter().filter(|header| header.is_always || !is_always).map(|header| header.name).collect()
    }

    #[test]
    fn every_header_we_publish_is_described_and_every_described_one_is_published() {
        for record in Record::ALL {
            let (_, headers) = example(record).unwrap();
            let mut names = names(&headers);
            if expiry::may_expire(record) {
                assert!(described(&REQUEST, false).iter().all(|name| names.remove(name)));
            }
            assert!(names.is_subset(&described(&EVENT, false)), "{}", record.name());
            assert!(names.is_superset(&described(&EVENT, true)), "{}", record.name());
        }
        assert_eq!(names(&example(Record::RunStarted).unwrap().1), described(&EVENT, false));
    }

    #[test]
    fn every_header_of_a_verdict_is_described_and_no_other() {
        let time = Timestamp::parse(TIME).unwrap();
        let place = Place {
            stream: "CEREBROS".to_owned(),
            sequence: 1,
            consumer: "dlq-classifier".to_owned(),
            subject: "ml.run.trial".to_owned(),
            deliveries: 1,
            first_seen: time,
        };
        let failure = Failure::new(FailureClass::Decode, Stage::Decode, "not JSON");
        let verdict = Verdict::new(&place, &failure, time, &Headers::default());
        let headers = verdict.headers(&Headers::default(), &place.message_id());
        assert_eq!(names(&headers), described(&DEAD_LETTER, true));
        let looped = Verdict { cause: Some(FailureClass::Decode), ..verdict };
        let looped = looped.of_run(Some("r".to_owned())).without_payload();
        let headers = looped.headers_beside_block(&place.message_id(), 14);
        assert_eq!(names(&headers), described(&DEAD_LETTER, false));
    }
}

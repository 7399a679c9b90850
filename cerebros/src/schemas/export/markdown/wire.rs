//! How an event travels: headers, encodings, identity, growth, and what becomes of one that cannot be read.

use std::fmt::Write as _;

use schemas::codec::MAX_EVENT_BYTES;
use schemas::{Encoding, FailureClass, Record, codec};
use service_kit::error::CliError;

use super::{code, headers, row, table};
use crate::schemas::export::unwritable;

const HEADERS: &str = "## On the wire

An event is a message of at most {limit} KiB with a CloudEvents 1.0 envelope in its headers (binary mode). Whoever
publishes to us may leave all of them out: a message without headers is JSON, and the record is that of its subject.
Structured mode (`Content-Type: application/cloudevents+json`) is understood too. What the headers claim must agree with
the subject. No event may carry a `Nats-` header that commands the broker.

";

const IDENTITY: &str = "
### Message id

`<run>:<attempt or 0>:<kind>:<trial>:<step>`, where the kind is the last word of the subject and what does not apply is
empty. It follows from what is said, so that a second copy of the same fact is dropped by the broker within two minutes
and recognised by a reader after that. What is the same in every attempt (a trial, a metric, the start of the record) has
0 for the attempt, or the attempt in which somebody restarted a run that had failed. Delivery is at least once.

### How long a request is wanted

A request for a run may say until when (`ce-expirytime`; in structured mode the attribute `expirytime`; of several the
earliest counts; the moment itself is in time). A worker judges once, when it takes the request: too late, and the run
fails as `expired` and the request becomes a dead letter; in time, and the run never expires, whatever interrupts it. A
retry and a replay are askings of their own: a retry says its own time, a replay none, because somebody wants it now. The
clocks of whoever asks and of the worker are compared, so leave more than they may differ by. Every other event is a fact:
there the attribute is not looked at.

### JSON

Times are UTC in ISO-8601. Doubles that are no finite number are the texts `\"NaN\"`, `\"Infinity\"` and `\"-Infinity\"`.
Free-form parts (*any JSON* in the tables) are values, not text. A field without value may be left out or, where its
type has null, be null. Unknown fields are ignored and counted, never an error; a wrong type or a missing required field
is one.

### Avro

Single-object encoding, `Content-Type: application/avro`: the bytes `C3 01`, the fingerprint of the writer's schema
(CRC-64-AVRO of its canonical form, the least significant byte first), then the value. Times are `timestamp-micros`,
free-form parts JSON text. There is no container and no length.

";

const GROWTH: &str = "
Every version that was ever published stays, and every version reads every other, in both directions. What this build
does not know it looks up in the bucket `cerebros_schemas` (fingerprint to text, record to versions), where every service
registers its schemas when it starts.

### Compatibility

A new version may add a field with a default, and stop writing a field that has one. It never changes a type, a name, a
default or the meaning of a field; never adds a symbol to an enum without a default; never removes a version. The type of
an event (`ce-type`) ends in the generation of the contract and is the same for all versions of its schema. `cerebros
schemas check` holds the schemas against these rules, and with `--against REV` against what a git revision had published.

## Dead letters

A message that cannot be handled is kept in the stream `CEREBROS_DLQ` on `cerebros.dlq.<class>.<original subject>`: the
original payload, byte for byte, the original headers, and the verdict beside them. Headers with a meaning for the broker,
and those that begin like the letter's own, are kept as `Cerebros-Original-<name>`. A replayed message carries `Cerebros-Dlq-Replays` and `Cerebros-Replay-Of`, and the
message id `<original id>/r<n>`; or `<entry id>/r<n>`, where there was none or a message of somebody else has that one. An
event of an older version of its schema is written in the latest when it is replayed, a request that names no run is made
to name the one its readers derived for it, and no request says any longer until when it is wanted. What was replayed is on
record on `cerebros.dlq.operation.replayed`, where the stream keeps it beside the letters; replays under way are tasks in the
bucket `cerebros_dlq` (`dlq-classifier tasks`).

";

pub(super) fn section() -> Result<String, CliError> {
    let mut text = HEADERS.replace("{limit}", &(MAX_EVENT_BYTES / 1024).to_string());
    let (event, example) = headers::example(Record::RunStarted)?;
    text += &table(["header", "when", "what", "example"]);
    for header in &headers::EVENT {
        let when = if header.is_always { "always" } else { "if known" };
        let value = example.get(header.name).map(code).unwrap_or_default();
        text += &row([&code(header.name), when, header.doc, &value]);
    }
    let (_, example) = headers::example(Record::RunRequested)?;
    for header in &headers::REQUEST {
        let value = example.get(header.name).map(code).unwrap_or_default();
        text += &row([&code(header.name), "requests, if said", header.doc, &value]);
    }
    text += IDENTITY;
    let bytes = codec::encode(&event, Encoding::Avro).map_err(unwritable)?;
    let hex = bytes.iter().take(16).fold(String::new(), |mut hex, byte| {
        // Writing into a text cannot fail.
        let _ = write!(hex, "{byte:02X} ");
        hex
    });
    let fingerprint = Record::RunStarted.fingerprint();
    text += &format!("A RunStarted (fingerprint `{fingerprint}`) begins with `{} ...`.\n", hex.trim_end());
    text += GROWTH;
    text += &table(["header", "what"]);
    for header in &headers::DEAD_LETTER {
        text += &row([&code(header.name), header.doc]);
    }
    let classes: Vec<String> = FailureClass::ALL.iter().map(|class| code(class.as_str())).collect();
    text += &format!("\nThe classes are {}.\n", classes.join(", "));
    Ok(text)
}

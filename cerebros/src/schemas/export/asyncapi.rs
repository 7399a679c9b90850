//! The contract as AsyncAPI 3.0: what this application receives and sends.
//!
//! The application is the whole pipeline. It *receives* what anybody may publish (requests, trials trained elsewhere)
//! and *sends* what it publishes itself, to whoever listens. What AsyncAPI has no words for, streams and consumers, is
//! in the extension `x-jetstream`; the other encoding of each message in `x-avro`.

mod jetstream;
mod message;

use schemas::json_schema::Definitions;
use schemas::ordered_json::Ordered;
use schemas::record::{GENERATION, Version};
use schemas::subject::DLQ_STREAM;
use schemas::{FailureClass, Record};
use serde_saphyr::ser_options;
use service_kit::error::CliError;

use super::unwritable;
use crate::schemas::facts;

const DESCRIPTION: &str = "Architecture search on an event stream. The application described here is the whole \
pipeline: it receives what anybody may publish, and sends what it publishes itself to whoever listens. Delivery is at \
least once; message ids make a second copy recognisable. Every message is JSON or Avro single-object encoding, as its \
Content-Type says; without headers it is JSON. Unknown fields are ignored.";

const NOTICE: &str =
    "# Written by `cerebros schemas export --format asyncapi`; changes here are overwritten.\n";

/// The document, in YAML.
pub(super) fn document() -> Result<String, CliError> {
    let mut definitions = Definitions::new("#/components/schemas/");
    let mut messages = Vec::new();
    for record in Record::ALL {
        let payload = definitions.add(record.latest());
        messages.push((record.name().to_owned(), message::of(record, payload)?));
    }
    messages.push(("DeadLetter".to_owned(), message::dead_letter()));
    let Ordered::Object(mut schemas) = definitions.into_ordered() else {
        return Err(unwritable("no object"));
    };
    schemas.extend(message::header_schemas());
    let correlation = Ordered::object([
        ("description", "Follows a request through all systems.".into()),
        ("location", "$message.header#/Cerebros-Correlation-Id".into()),
    ]);
    let components = Ordered::object([
        ("messages", Ordered::Object(messages)),
        ("schemas", Ordered::Object(schemas)),
        ("correlationIds", Ordered::object([("request", correlation)])),
    ]);
    let document = head()
        .with("channels", channels())
        .with("operations", operations())
        .with("components", components)
        .with("x-jetstream", jetstream::all());
    let options = ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(&document, options).map_err(unwritable)?;
    Ok(format!("{NOTICE}{text}"))
}

fn head() -> Ordered {
    let license = Ordered::object([
        ("name", "Apache-2.0".into()),
        ("url", "https://www.apache.org/licenses/LICENSE-2.0".into()),
    ]);
    // The minor number counts the schema versions published since the first.
    let since = Version::all().filter(|version| version.number > 1).count();
    let info = Ordered::object([
        ("title", "Cerebros".into()),
        ("version", format!("{GENERATION}.{since}.0").into()),
        ("description", DESCRIPTION.into()),
        ("license", license),
        ("tags", Ordered::List(vec![tag("requests"), tag("life of a run"), tag("machine-learning record")])),
    ]);
    let server = Ordered::object([
        ("host", "127.0.0.1:4222".into()),
        ("protocol", "nats".into()),
        ("description", "The broker of the local stack: nats-server 2.12 or later with JetStream.".into()),
    ]);
    Ordered::object([
        ("asyncapi", "3.0.0".into()),
        ("id", "urn:cerebros:events".into()),
        ("info", info),
        ("defaultContentType", "application/json".into()),
        ("servers", Ordered::object([("local", server)])),
    ])
}

fn tag(name: &str) -> Ordered {
    Ordered::object([("name", name.into())])
}

fn reference(place: &str) -> Ordered {
    Ordered::object([("$ref", place.into())])
}

/// `RunStarted` is on the channel `runStarted`.
fn channel_name(record: Record) -> String {
    let (head, rest) = record.name().split_at(1);
    format!("{}{rest}", head.to_lowercase())
}

fn channels() -> Ordered {
    let channel = |record: Record| {
        let message = reference(&format!("#/components/messages/{}", record.name()));
        let channel = Ordered::object([
            ("address", record.subject().into()),
            ("title", record.name().into()),
            ("description", facts::occasion(record).into()),
            ("messages", Ordered::object([(record.name(), message)])),
            ("x-jetstream", jetstream::of_subject(record.subject())),
        ]);
        (channel_name(record), channel)
    };
    let mut channels: Vec<(String, Ordered)> = Record::ALL.into_iter().map(channel).collect();
    channels.push(("deadLetters".to_owned(), dead_letters()));
    Ordered::Object(channels)
}

fn dead_letters() -> Ordered {
    let class = Ordered::object([
        ("description", "Class of the fault.".into()),
        ("enum", FailureClass::ALL.iter().map(|class| class.as_str()).collect()),
    ]);
    let subject = Ordered::object([(
        "description",
        "Subject the message came on, all its parts, such as ml.run.trial.".into(),
    )]);
    let message = reference("#/components/messages/DeadLetter");
    Ordered::object([
        ("address", "cerebros.dlq.{class}.{subject}".into()),
        ("title", "Dead letters".into()),
        (
            "description",
            "Messages that could not be handled, untouched, with the verdict in their headers.".into(),
        ),
        ("messages", Ordered::object([("DeadLetter", message)])),
        ("parameters", Ordered::object([("class", class), ("subject", subject)])),
        ("x-jetstream", Ordered::object([("stream", DLQ_STREAM.into())])),
    ])
}

fn operations() -> Ordered {
    let mut operations = Vec::new();
    for record in Record::ALL {
        let tag = if facts::is_taken_from_anyone(record) && !facts::is_published_by_us(record) {
            "requests"
        } else if record.subject().starts_with("ml.") {
            "machine-learning record"
        } else {
            "life of a run"
        };
        let channel = channel_name(record);
        if facts::is_taken_from_anyone(record) {
            let summary = format!("Takes {} from anyone.", record.name());
            operations.push(operation("receive", &channel, record.name(), &summary, Some(tag)));
        }
        if facts::is_published_by_us(record) {
            let doc = record.latest().shape.as_record().and_then(|shape| shape.doc.as_deref());
            operations.push(operation("send", &channel, record.name(), doc.unwrap_or_default(), Some(tag)));
        }
    }
    let summary = "Puts a message that could not be handled aside.";
    operations.push(operation("send", "deadLetters", "DeadLetter", summary, None));
    Ordered::Object(operations)
}

fn operation(
    action: &str,
    channel: &str,
    message: &str,
    summary: &str,
    tag_name: Option<&str>,
) -> (String, Ordered) {
    let place = format!("#/channels/{channel}");
    let operation = Ordered::object([
        ("action", action.into()),
        ("channel", reference(&place)),
        ("title", format!("{action} {message}").into()),
        ("summary", summary.into()),
    ])
    .with_some("tags", tag_name.map(|name| Ordered::List(vec![tag(name)])))
    .with("messages", Ordered::List(vec![reference(&format!("{place}/messages/{message}"))]));
    (format!("{action}{message}"), operation)
}

//! `schemas decode`: one message, whatever its encoding, as JSON.
//!
//! Invariants: the input is read up to the size of the largest event; what a message is follows from what it says or
//! from a flag, never from trying; what cannot be read is said as a dead letter would say it.

mod input;
mod kind;

use schemas::cloudevents::{Headers, header};
use schemas::codec::{self, Decoded, Encoding, Foreign, foreign_fingerprint};
use schemas::record::{Fingerprint, Version};
use schemas::{Record, shape};
use serde::Serialize;
use serde_json::Value;
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{self, Format, OutputArgs, Printer};

use super::{lookup, registry};
use kind::Kind;

/// Flags of `decode`.
#[derive(Debug, clap::Args)]
pub struct DecodeArgs {
    /// File with the bytes of one message, or - for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
    /// Subject the message came on
    #[arg(long, value_name = "SUBJECT", conflicts_with = "record")]
    subject: Option<String>,
    /// Record the message is
    #[arg(long, value_name = "RECORD")]
    record: Option<String>,
    /// Ask the registry of the broker for a schema this build does not know
    #[arg(long)]
    registry: bool,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// A message that was read.
#[derive(Debug, Serialize)]
struct Message {
    record: &'static str,
    /// Of the writer's schema in Avro, as far as somebody knows it; JSON is read as the latest.
    version: Option<u32>,
    encoding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    unknown_fields: Vec<String>,
    data: Value,
}

pub(super) async fn decode(args: &DecodeArgs) -> Result<Exit, CliError> {
    let printer = args.output.printer();
    let named = args.record.as_ref().or(args.subject.as_ref());
    let named = named.map(|name| lookup::record(name)).transpose()?;
    let payload = input::read(&args.file).await?;
    let kind = Kind::of(&payload)?;
    let headers = Headers(vec![(header::CONTENT_TYPE.to_owned(), kind.content_type().to_owned())]);
    let looked_up = match foreign_fingerprint(&headers, &payload) {
        Some(fingerprint) => Some(LookedUp::find(fingerprint, args).await?),
        None => None,
    };
    let record = named.or(looked_up.as_ref().and_then(|found| found.record));
    let record = record.map_or_else(|| kind.record(), Ok)?;
    let foreign = looked_up.as_ref().map(|found| &found.foreign);
    let decoded = codec::decode_with(record.subject(), &headers, &payload, foreign)
        .map_err(|error| input::broken(&error))?;
    let fingerprint = foreign.map(|foreign| foreign.fingerprint).or(kind.fingerprint());
    let version = match (&looked_up, fingerprint) {
        (Some(found), _) => found.number(record).await?,
        (None, Some(fingerprint)) => Version::of_fingerprint(fingerprint).map(|version| version.number),
        (None, None) => Some(record.latest().number),
    };
    print(printer, message(record, version, fingerprint, decoded))?;
    Ok(Exit::Done)
}

fn message(
    record: Record,
    version: Option<u32>,
    fingerprint: Option<Fingerprint>,
    decoded: Decoded,
) -> Message {
    Message {
        record: record.name(),
        version,
        encoding: match decoded.encoding {
            Encoding::Json => "json",
            Encoding::Avro => "avro",
        },
        fingerprint: fingerprint.map(|fingerprint| fingerprint.to_string()),
        unknown_fields: decoded.unknown_fields,
        data: decoded.event.to_json(),
    }
}

/// A table is for people: they get the event, and the rest beside it.
fn print(printer: Printer, message: Message) -> Result<(), CliError> {
    if printer.format() != Format::Table {
        return printer.object(&message, |_| Ok(()));
    }
    let version =
        message.version.map_or_else(|| "of unknown version".to_owned(), |number| format!("v{number}"));
    output::note(format!("{} {version}, {}", message.record, message.encoding));
    if !message.unknown_fields.is_empty() {
        output::warning(format!("not known and ignored: {}", message.unknown_fields.join(", ")));
    }
    Printer::new(Format::Json).object(&message.data, |_| Ok(()))
}

/// A schema this build was not made with.
struct LookedUp {
    broker: Broker,
    foreign: Foreign,
    record: Option<Record>,
}

impl LookedUp {
    async fn find(fingerprint: Fingerprint, args: &DecodeArgs) -> Result<Self, CliError> {
        let unknown = |help: &str| {
            let what = format!("no schema with the fingerprint {fingerprint} is known here");
            CliError::new("schema-unknown", Exit::InvalidInput, what).help(help)
        };
        if !args.registry {
            return Err(unknown(
                "--registry asks the broker, where every writer registers its schemas; --nats-url says which",
            ));
        }
        let broker = registry::connect(&args.broker).await?;
        let text = registry::look_up(&broker, fingerprint).await?.ok_or_else(|| {
            unknown("the registry of the broker has none either: start its writer once, or ask who wrote it")
        })?;
        let shape = shape::parse(&text).ok().map(|parsed| parsed.shape);
        let name = shape.as_ref().and_then(|shape| shape.title().strip_prefix("cerebros.events."));
        Ok(Self {
            broker,
            foreign: Foreign::read(fingerprint, &text),
            record: name.and_then(Record::of_name),
        })
    }

    /// The number the registry has for it.
    async fn number(&self, record: Record) -> Result<Option<u32>, CliError> {
        registry::number_of(&self.broker, record, self.foreign.fingerprint).await
    }
}

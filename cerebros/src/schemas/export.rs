//! `schemas export`: the contract in the languages of other tools, on standard output.
//!
//! The same build writes the same document, byte for byte: three of them are kept in the repository
//! (`docs/reference/events.md`, `asyncapi.yaml` and `mlflow-mapping.md` beside it), and a test holds them against this.

mod asyncapi;
pub(super) mod fields;
mod headers;
mod markdown;

use schemas::Record;
use schemas::json_schema;
use schemas::ordered_json::Ordered;
use schemas::record::Version;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, Printer};

use super::lookup;

/// Flags of `export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Language of the document
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    format: Language,
    /// One record instead of all of them; for json-schema and avro
    #[arg(long, value_name = "RECORD[:V]")]
    record: Option<String>,
}

/// What the contract can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    /// JSON Schema 2020-12 of the JSON encoding
    JsonSchema,
    /// The Avro schemas as they were published
    Avro,
    /// AsyncAPI 3.0: subjects, messages, streams and consumers
    Asyncapi,
    /// The catalogue of events, to be read
    Markdown,
    /// What becomes what in MLflow, to be read
    MlflowMapping,
}

pub(super) fn export(args: &ExportArgs) -> Result<Exit, CliError> {
    let one = args.record.as_deref().map(lookup::version).transpose()?;
    let text = match (args.format, one) {
        (Language::JsonSchema, Some(version)) => pretty(&json_schema::document(&[version]))?,
        (Language::JsonSchema, None) => pretty(&json_schema::document(&latest()))?,
        (Language::Avro, Some(version)) => version.text.to_owned(),
        (Language::Avro, None) => avro()?,
        (Language::Asyncapi, None) => asyncapi::document()?,
        (Language::Markdown, None) => markdown::document()?,
        (Language::MlflowMapping, None) => mlflow_sink::projection::mapping::document(),
        (Language::Asyncapi | Language::Markdown | Language::MlflowMapping, Some(_)) => {
            return Err(CliError::new("usage", Exit::Usage, "this document is about all records at once")
                .help("--record goes with --format json-schema and --format avro"));
        }
    };
    Printer::new(Format::Table).raw(text.as_bytes())?;
    Ok(Exit::Done)
}

fn latest() -> Vec<&'static Version> {
    Record::ALL.into_iter().map(Record::latest).collect()
}

/// The latest schemas, one array.
fn avro() -> Result<String, CliError> {
    let schemas: Result<Vec<Ordered>, _> =
        latest().into_iter().map(|version| serde_json::from_str(version.text)).collect();
    pretty(&Ordered::List(schemas.map_err(unwritable)?))
}

fn pretty(document: &Ordered) -> Result<String, CliError> {
    serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(unwritable)
}

fn unwritable(error: impl std::fmt::Display) -> CliError {
    CliError::internal("the document cannot be written").because(error)
}

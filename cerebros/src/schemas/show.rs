//! `schemas show`: the fields of one record, for people; the schema as it was published, for machines.

use std::io::{self, Write};

use schemas::ordered_json::Ordered;
use schemas::record::Version;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, OutputArgs};

use super::export::fields::{self, Field};
use super::{facts, lookup};

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Name, subject or file name of a record, and a version if it is not the latest
    #[arg(value_name = "RECORD[:V]")]
    record: String,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) fn show(args: &ShowArgs) -> Result<Exit, CliError> {
    let version = lookup::version(&args.record)?;
    let printer = args.output.printer();
    match printer.format() {
        // As it was published, byte for byte.
        Format::Json => printer.raw(version.text.as_bytes())?,
        Format::Ndjson => {
            let schema: Ordered =
                serde_json::from_str(version.text).map_err(|error| CliError::internal(error.to_string()))?;
            printer.object(&schema, |_| Ok(()))?;
        }
        Format::Table => printer.object(&(), |out| write(out, version))?,
    }
    Ok(Exit::Done)
}

fn write(out: &mut dyn Write, version: &Version) -> io::Result<()> {
    let record = version.record;
    let shape = version.shape.as_record().expect("every version is a record");
    let latest = if version.is_latest() { ", the latest" } else { "" };
    writeln!(out, "{} version {}{latest}", record.name(), version.number)?;
    writeln!(out, "{}", shape.doc.as_deref().unwrap_or_default())?;
    writeln!(out)?;
    writeln!(out, "subject       {}", record.subject())?;
    writeln!(out, "published by  {}", facts::published_by(record))?;
    writeln!(out, "type          {}", record.ce_type())?;
    writeln!(out, "data schema   {}", version.ce_dataschema())?;
    writeln!(out)?;
    let fields = fields::of(shape);
    let width = |heading: &str, text: fn(&Field) -> &str| {
        fields.iter().map(|field| text(field).len()).max().unwrap_or(0).max(heading.len())
    };
    let path = width("FIELD", |field| &field.path);
    let kind = width("TYPE", |field| &field.kind);
    let default = width("DEFAULT", |field| &field.default);
    let mut line = |one: &str, two: &str, three: &str, four: &str| {
        writeln!(out, "{}", format!("{one:path$}  {two:kind$}  {three:default$}  {four}").trim_end())
    };
    line("FIELD", "TYPE", "DEFAULT", "WHAT IT IS")?;
    fields.iter().try_for_each(|field| line(&field.path, &field.kind, &field.default, &field.doc))
}

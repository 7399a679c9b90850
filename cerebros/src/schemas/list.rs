//! `schemas list`: every record and version of this build, or what stands in the registry of a broker.

use schemas::record::Version;
use serde::Serialize;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{OutputArgs, Row};
use service_kit::schema_registry::standing;

use super::{facts, registry};

/// Flags of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// What stands in the registry of the broker instead, held against this build
    #[arg(long)]
    registry: bool,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

pub(super) async fn list(args: &ListArgs) -> Result<Exit, CliError> {
    let printer = args.output.printer();
    if args.registry {
        let broker = registry::connect(&args.broker).await?;
        printer.rows(&standing::rows(&broker).await?)?;
    } else {
        let lines: Vec<Line> = Version::all().map(Line::of).collect();
        printer.rows(&lines)?;
    }
    Ok(Exit::Done)
}

/// One version of one record.
#[derive(Debug, Serialize)]
struct Line {
    record: &'static str,
    version: u32,
    subject: &'static str,
    fingerprint: String,
    fields: usize,
    latest: bool,
    ce_type: &'static str,
    ce_dataschema: &'static str,
    published_by: &'static str,
    doc: &'static str,
}

impl Line {
    fn of(version: &'static Version) -> Self {
        let shape = version.shape.as_record().expect("every version is a record");
        Self {
            record: version.record.name(),
            version: version.number,
            subject: version.record.subject(),
            fingerprint: version.fingerprint.to_string(),
            fields: shape.fields.len(),
            latest: version.is_latest(),
            ce_type: version.record.ce_type(),
            ce_dataschema: version.ce_dataschema(),
            published_by: facts::published_by(version.record),
            doc: shape.doc.as_deref().unwrap_or_default(),
        }
    }
}

impl Row for Line {
    fn headings() -> &'static [&'static str] {
        &["record", "version", "subject", "fingerprint", "fields", "latest", "published by", "doc"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.record.to_owned(),
            self.version.to_string(),
            self.subject.to_owned(),
            self.fingerprint.clone(),
            self.fields.to_string(),
            if self.latest { "yes" } else { "no" }.to_owned(),
            self.published_by.to_owned(),
            self.doc.to_owned(),
        ]
    }
}

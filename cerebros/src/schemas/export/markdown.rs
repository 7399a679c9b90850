//! The catalogue of events, to be read: what is said, by whom, to whom, in which fields, and how it travels.

mod records;
mod tables;
mod wire;

use schemas::Record;
use service_kit::error::CliError;

use super::fields;
use super::headers;

const HEAD: &str = "<!-- Written by `cerebros schemas export --format markdown`; changes here are overwritten. -->

# Events

Everything that may be said on the broker: one subject carries one record. [asyncapi.yaml](asyncapi.yaml) says the same
to tools. At hand are `cerebros schemas list` and `show` for the contract, `decode` for one message, and `export
--format json-schema` for whoever checks JSON elsewhere.
";

/// The document.
pub(super) fn document() -> Result<String, CliError> {
    let mut parts = vec![HEAD.to_owned(), tables::overview()];
    parts.push("## Records\n".to_owned());
    for record in Record::ALL {
        parts.push(records::section(record)?);
    }
    parts.push(wire::section()?);
    parts.push(tables::topology());
    Ok(parts.join("\n"))
}

/// A row of a table; what would end a cell is written out.
fn row<const N: usize>(cells: [&str; N]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// A table's head and the line below it.
fn table<const N: usize>(headings: [&str; N]) -> String {
    format!("{}{}", row(headings), row([const { "---" }; N]))
}

/// Text as code.
fn code(text: &str) -> String {
    format!("`{text}`")
}

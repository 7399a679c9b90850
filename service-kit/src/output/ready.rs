//! Rows made ready for a list by whoever has found them, on whatever thread: text where a row is the same wherever it stands,
//! and the rows themselves for a table, whose columns are laid out by the page.

use serde::Serialize;

use super::table::Row;
use super::{Format, Printer, json_text};
use crate::error::CliError;

/// Text for which room is made at once, at most.
const ROOM: usize = 1024 * 1024;

/// Rows for a list, see [`Aside::append`](super::Aside::append).
#[derive(Debug)]
pub struct Ready<T> {
    pub(super) text: String,
    pub(super) rows: Vec<T>,
}

impl Printer {
    /// Makes rows ready for a list in its format.
    pub fn ready<T: Serialize + Row>(&self, rows: impl IntoIterator<Item = T>) -> Result<Ready<T>, CliError> {
        let mut ready = Ready { text: String::new(), rows: Vec::new() };
        match self.format {
            Format::Table => ready.rows.extend(rows),
            Format::Json | Format::Ndjson => {
                let mut rows = rows.into_iter();
                if let Some(row) = rows.next() {
                    add_text(&mut ready.text, self.format, &row)?;
                    // Rows are much alike, and text that need not grow is not copied.
                    let others = ready.text.len().saturating_mul(rows.size_hint().0);
                    ready.text.reserve((others + others / 8).min(ROOM));
                }
                rows.try_for_each(|row| add_text(&mut ready.text, self.format, &row))?;
            }
        }
        Ok(ready)
    }
}

/// Adds the text of a row of a JSON list; in an array with the comma before it.
pub(super) fn add_text<T: Serialize>(text: &mut String, format: Format, row: &T) -> Result<(), CliError> {
    if format == Format::Json {
        text.push_str(",\n  ");
        // A line break in pretty JSON is never part of a string.
        text.push_str(&json_text(row, true)?.replace('\n', "\n  "));
    } else {
        text.push_str(&json_text(row, false)?);
        text.push('\n');
    }
    Ok(())
}

//! Rows made ready for a list by whoever has found them, on whatever thread: text where a row is the same wherever it stands,
//! and the cells or the rows themselves for a table, whose columns are laid out by the page.

use serde::Serialize;

use super::table::{Page, Row};
use super::{Format, Printer, json_text};
use crate::error::CliError;

/// Bytes for which room is made at once, at most.
const ROOM: usize = 1024 * 1024;

/// Bytes for which room is made for so many rows like one of `bytes`: rows are much alike, and what need not grow is not
/// copied.
pub(super) fn room(bytes: usize, rows: usize) -> usize {
    let all = bytes.saturating_mul(rows);
    all.saturating_add(all / 8).min(ROOM)
}

/// Rows for a list, see [`Aside::append`](super::Aside::append).
#[derive(Debug)]
pub struct Ready<T> {
    pub(super) text: String,
    pub(super) page: Page<T>,
}

impl Printer {
    /// Makes rows ready for a list in its format.
    pub fn ready<T: Serialize + Row>(&self, rows: impl IntoIterator<Item = T>) -> Result<Ready<T>, CliError> {
        let mut ready = Ready { text: String::new(), page: Page::new(self.look) };
        let mut rows = rows.into_iter();
        let Some(first) = rows.next() else { return Ok(ready) };
        let others = rows.size_hint().0;
        match self.format {
            Format::Table => {
                ready.page.push(first);
                ready.page.reserve(others);
                rows.for_each(|row| ready.page.push(row));
            }
            Format::Json | Format::Ndjson => {
                add_text(&mut ready.text, self.format, &first)?;
                ready.text.reserve(room(ready.text.len(), others));
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

//! A list that is printed while it is found: the same bytes as [`Printer::rows`], and rows are not kept for it.
//!
//! A table needs to know its widest cells; its columns are laid out by a page of rows at a time, and never narrower than
//! on the page before.

use serde::Serialize;

use super::ready::add_text;
use super::table::{Page, Row};
use super::{Format, Printer, write_out};
use crate::error::CliError;

/// Rows of a table that are laid out together.
const PAGE: usize = 1000;
/// Bytes collected before they are written.
const CHUNK: usize = 64 * 1024;

/// A list under way.
#[must_use = "a list has to be ended"]
pub struct Listing<T> {
    printer: Printer,
    /// Rows of a table, not laid out yet.
    page: Page<T>,
    /// Widths of the columns so far; none before the first page.
    widths: Vec<usize>,
    text: String,
    is_begun: bool,
}

impl Printer {
    /// Begins a list.
    pub fn listing<T: Serialize + Row>(&self) -> Listing<T> {
        Listing {
            printer: *self,
            page: Page::new(self.look),
            widths: Vec::new(),
            text: String::new(),
            is_begun: false,
        }
    }
}

impl<T: Serialize + Row> Listing<T> {
    /// Adds a row, and prints what was collected when it is enough. Nothing else happens meanwhile, however long the reader
    /// waits.
    pub fn push(&mut self, row: T) -> Result<(), CliError> {
        if self.collect(row)? { self.write() } else { Ok(()) }
    }

    /// Adds a row to what is printed next; true when that is enough to be printed.
    pub(super) fn collect(&mut self, row: T) -> Result<bool, CliError> {
        match self.printer.format {
            Format::Table => {
                self.page.push(row);
                if self.page.len() < PAGE {
                    return Ok(false);
                }
                self.lay_out();
            }
            Format::Json | Format::Ndjson => {
                let begin = self.text.len();
                add_text(&mut self.text, self.printer.format, &row)?;
                self.begin_at(begin);
            }
        }
        Ok(self.text.len() >= CHUNK)
    }

    /// Adds rows of a table from another page until it is empty, or until what is printed next is enough: true then.
    pub(super) fn collect_page(&mut self, from: &mut Page<T>) -> bool {
        while from.len() > 0 {
            let room = PAGE - self.page.len();
            from.move_to(&mut self.page, room);
            if self.page.len() == PAGE {
                self.lay_out();
            }
            if self.text.len() >= CHUNK {
                return true;
            }
        }
        false
    }

    /// Adds rows whose text is there already; true when it is enough to be printed.
    pub(super) fn collect_text(&mut self, text: String) -> bool {
        let begin = self.text.len();
        if begin == 0 {
            self.text = text;
        } else {
            self.text.push_str(&text);
        }
        self.begin_at(begin);
        self.text.len() >= CHUNK
    }

    /// A row of a JSON array has the comma before it; where the first one has it, the array begins.
    fn begin_at(&mut self, at: usize) {
        if self.printer.format == Format::Json && !self.is_begun && at < self.text.len() {
            self.text.replace_range(at..=at, "[");
        }
        self.is_begun |= at < self.text.len();
    }

    /// Prints what is left.
    pub fn end(mut self) -> Result<(), CliError> {
        self.collect_end();
        self.write()
    }

    /// Adds what ends the list to what is printed next.
    pub(super) fn collect_end(&mut self) {
        match self.printer.format {
            Format::Table if self.page.len() > 0 || !self.is_begun => self.lay_out(),
            Format::Table | Format::Ndjson => {}
            Format::Json => self.text.push_str(if self.is_begun { "\n]\n" } else { "[]\n" }),
        }
    }

    /// What is printed next.
    pub(super) fn take_text(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn lay_out(&mut self) {
        let page = self.page.lay_out(self.printer.look, &mut self.widths);
        self.text.push_str(&page);
        self.is_begun = true;
    }

    fn write(&mut self) -> Result<(), CliError> {
        let written = write_out(self.text.as_bytes());
        self.text.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::json_text;
    use crate::output::table::Look;

    #[derive(Serialize)]
    struct Run(String);

    impl Row for Run {
        fn headings() -> &'static [&'static str] {
            &["run", "same"]
        }

        fn cells(&self) -> Vec<String> {
            vec![self.0.clone(), "x".to_owned()]
        }
    }

    /// What a listing would have written.
    fn listed(format: Format, rows: &[&str]) -> String {
        let printer = Printer { format, look: Look { is_terminal: false, has_colour: false } };
        let mut listing = printer.listing();
        rows.iter().for_each(|row| listing.push(Run((*row).to_owned())).unwrap());
        std::mem::take(&mut listing.text)
    }

    #[test]
    fn json_is_the_same_as_if_it_were_printed_at_once() {
        let rows = [Run("a\nb".to_owned()), Run("c".to_owned())];
        let text = listed(Format::Json, &["a\nb", "c"]);
        assert_eq!(text + "\n]", json_text(&rows, true).unwrap());
        assert_eq!(listed(Format::Ndjson, &["a"]), "\"a\"\n");
    }

    #[test]
    fn what_was_made_ready_elsewhere_is_the_same_as_row_by_row() {
        for format in [Format::Json, Format::Ndjson] {
            let printer = Printer { format, look: Look { is_terminal: false, has_colour: false } };
            let mut listing = printer.listing::<Run>();
            for part in [&[][..], &["a\nb"], &[], &["c", "d"]] {
                let rows = part.iter().map(|row| Run((*row).to_owned()));
                listing.collect_text(printer.ready(rows).unwrap().text);
            }
            assert_eq!(listing.text, listed(format, &["a\nb", "c", "d"]));
        }
    }

    #[test]
    fn a_table_of_rows_made_ready_elsewhere_is_the_same_as_row_by_row() {
        for (is_terminal, has_colour) in [(false, false), (true, false), (false, true)] {
            let printer = Printer { format: Format::Table, look: Look { is_terminal, has_colour } };
            let row = |number: usize| Run(format!("{number}").repeat(number % 7));
            let mut one_by_one = printer.listing();
            let mut in_parts = printer.listing();
            // Parts end within pages, and one where a page does.
            for part in
                [0..1, 1..PAGE - 1, PAGE - 1..2 * PAGE + 1, 2 * PAGE + 1..3 * PAGE, 3 * PAGE..3 * PAGE + 1]
            {
                for number in part.clone() {
                    one_by_one.collect(row(number)).unwrap();
                }
                let mut ready = printer.ready(part.map(row)).unwrap();
                while in_parts.collect_page(&mut ready.page) {}
            }
            one_by_one.collect_end();
            in_parts.collect_end();
            assert_eq!(in_parts.text, one_by_one.text);
            assert_eq!(in_parts.text.lines().count(), 3 * PAGE + 2);
        }
    }

    #[test]
    fn a_second_page_of_a_table_has_no_headings_and_columns_as_wide() {
        for has_colour in [false, true] {
            let look = Look { is_terminal: false, has_colour };
            let mut listing = Printer { format: Format::Table, look }.listing();
            for row in ["longer", "a"] {
                listing.page.push(Run(row.to_owned()));
                listing.lay_out();
            }
            let plain = listing.text.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
            // A heading is bold with the spaces behind it.
            let lines: Vec<&str> = plain.lines().map(str::trim_end).collect();
            assert_eq!(lines, ["RUN     SAME", "longer  x", "a       x"]);
        }
    }
}

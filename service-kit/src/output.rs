//! The only place that prints. Data goes to standard output, everything else to standard error.
//!
//! Invariants:
//! - no escape sequence that came with the data reaches a terminal: tables and texts have control characters
//!   written out, JSON has them as `\u` escapes; only [`Printer::raw`] passes bytes on untouched;
//! - a machine format is never mixed with talk;
//! - every write is flushed, so that a reader sees a line as soon as it exists;
//! - a reader that leaves ends the program quietly and successfully.
//!
//! Deliberately not here: progress bars (they belong to the command that shows them) and logs
//! ([`crate::telemetry`]).

mod aside;
mod columns;
mod listing;
pub mod plain_text;
mod ready;
mod stderr;
mod table;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub use aside::Aside;
pub use listing::Listing;
pub use ready::Ready;
pub(crate) use stderr::speak_json;
pub use stderr::{Stderr, error, note, warning};
use table::Look;
pub use table::Row;

use crate::error::CliError;

/// Longest text for people in one call, in characters.
const TEXT_LIMIT: usize = 1_000_000;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people; without decoration in a pipe.
    #[default]
    Table,
    /// One JSON document; a live feed is one object a line.
    Json,
    /// The same objects, one a line.
    Ndjson,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Also in a pipe.
    Always,
    /// Not at all.
    Never,
}

/// The flags of everything that prints data.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct OutputArgs {
    /// How data is printed on standard output
    #[arg(short = 'o', long = "output", value_enum, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// When colour is used; NO_COLOR is honoured
    #[arg(long = "color", value_enum, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

impl OutputArgs {
    /// The printer these flags ask for.
    pub fn printer(&self) -> Printer {
        let is_terminal = io::stdout().is_terminal();
        let has_colour = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !is_colour_refused(),
        };
        Printer { format: self.output.unwrap_or_default(), look: Look { is_terminal, has_colour } }
    }
}

/// True if the environment says that colour is not wanted.
pub(crate) fn is_colour_refused() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}

/// Prints data on standard output in one format.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    format: Format,
    look: Look,
}

impl Printer {
    /// A printer with colour where a terminal wants it.
    pub fn new(format: Format) -> Self {
        OutputArgs { output: Some(format), color: Color::Auto }.printer()
    }

    /// The format that was asked for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// True if a person reads: the format is the table and standard output a terminal.
    pub fn is_for_people(&self) -> bool {
        self.format == Format::Table && self.look.is_terminal
    }

    /// Prints a list: an array in JSON, a line each in NDJSON.
    pub fn rows<T: Serialize + Row>(&self, rows: &[T]) -> Result<(), CliError> {
        match self.format {
            Format::Table => write_out(table::render(rows, self.look).as_bytes()),
            Format::Json => write_line(json_text(&rows, true)?),
            Format::Ndjson => {
                let lines: Result<String, CliError> =
                    rows.iter().map(|row| Ok(json_text(row, false)? + "\n")).collect();
                write_out(lines?.as_bytes())
            }
        }
    }

    /// Prints one object, or what `human` writes about it. Control characters in that text are written out.
    pub fn object<T: Serialize>(
        &self,
        value: &T,
        human: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Json => write_line(json_text(value, true)?),
            Format::Ndjson => write_line(json_text(value, false)?),
            Format::Table => {
                let mut text = Vec::new();
                human(&mut text)?;
                let text = plain_text::lines(&String::from_utf8_lossy(&text), TEXT_LIMIT);
                write_out(text.as_bytes())
            }
        }
    }

    /// Prints one item of a live feed at once, on a line of its own, whatever `human` holds.
    pub fn stream_item<T: Serialize>(&self, item: &T, human: impl std::fmt::Display) -> Result<(), CliError> {
        match self.format {
            Format::Table => write_line(plain_text::one_line(&human.to_string(), TEXT_LIMIT)),
            Format::Json | Format::Ndjson => write_line(json_text(item, false)?),
        }
    }

    /// Prints a line as it is in every format, such as an id for a script.
    pub fn line(&self, text: impl std::fmt::Display) -> Result<(), CliError> {
        write_line(plain_text::one_line(&text.to_string(), TEXT_LIMIT))
    }

    /// Writes bytes untouched, and nothing else.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), CliError> {
        write_out(bytes)
    }
}

fn write_line(mut line: String) -> Result<(), CliError> {
    line.push('\n');
    write_out(line.as_bytes())
}

fn write_out(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(CliError::on_stdout)
}

/// JSON that means the same and that a terminal cannot act upon: what is unfit can stand only inside strings, where
/// an escape is its equal.
fn json_text<T: Serialize>(value: &T, is_pretty: bool) -> Result<String, CliError> {
    let text = if is_pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let text =
        text.map_err(|error| CliError::internal("the result cannot be written as JSON").because(error))?;
    // Nearly every text is of letters nobody objects to, and can be seen to be byte by byte.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return Ok(text);
    }
    let is_left = |character: char| character == '\n' || !plain_text::is_unfit(character);
    if text.chars().all(is_left) {
        return Ok(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_left(character) {
            safe.push(character);
        } else {
            safe.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
    }
    Ok(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_hostile_text_means_the_same_and_does_nothing() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}b\n\u{7f}ü";
        for is_pretty in [false, true] {
            let text = json_text(&[hostile], is_pretty).unwrap();
            assert!(text.chars().all(|character| character == '\n' || !plain_text::is_unfit(character)));
            assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), [hostile]);
        }
    }
}

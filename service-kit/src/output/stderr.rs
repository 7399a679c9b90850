//! Everything said on standard error. Nobody may be listening: a failed write is no failure of the program.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Format, json_text, plain_text};
use crate::error::CliError;

/// Longest note, in characters.
const NOTE_LIMIT: usize = 20_000;

/// Set once the logs of this process are JSON: then every line on standard error is, and notes become log lines.
static SPEAKS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on every line on standard error is JSON.
pub(crate) fn speak_json() {
    SPEAKS_JSON.store(true, Ordering::Relaxed);
}

/// Tells a person something that is neither data nor an error.
pub fn note(text: impl fmt::Display) {
    let text = plain_text::lines(&text.to_string(), NOTE_LIMIT);
    if SPEAKS_JSON.load(Ordering::Relaxed) {
        tracing::info!("{text}");
    } else {
        say(&text);
    }
}

/// Tells a person about something they should look at.
pub fn warning(text: impl fmt::Display) {
    let text = plain_text::lines(&text.to_string(), NOTE_LIMIT);
    if SPEAKS_JSON.load(Ordering::Relaxed) {
        tracing::warn!("{text}");
    } else {
        say(&format!("warning: {text}"));
    }
}

/// Prints what ended the program, as JSON if that was asked for.
pub fn error(error: &CliError, format: Option<Format>) {
    let is_json = match format {
        Some(Format::Json | Format::Ndjson) => true,
        Some(Format::Table) | None => SPEAKS_JSON.load(Ordering::Relaxed),
    };
    match json_text(error, false) {
        Ok(json) if is_json => say(&json),
        Ok(_) | Err(_) => say(&error.to_string()),
    }
}

fn say(text: &str) {
    Stderr.write_all(format!("{text}\n").as_bytes()).unwrap_or_default();
}

/// Standard error that never fails: a closed or full one swallows what is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(bytes).unwrap_or_default();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

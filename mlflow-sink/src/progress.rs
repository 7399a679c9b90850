//! How far a command has come, on standard error when a person looks at it.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use service_kit::output::Stderr;

/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(200);

/// One line that is written over again; nothing at all off a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    last: Mutex<Option<Instant>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { is_shown: std::io::stderr().is_terminal() && !is_dumb, last: Mutex::default() }
    }

    /// Says something, when it was not said just now.
    pub(crate) fn say(&self, text: impl FnOnce() -> String) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_shown || last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        *last = Some(Instant::now());
        write!(Stderr, "\r\x1b[2K{}", text()).unwrap_or_default();
    }

    /// Takes the line away, so that something else can be written there.
    pub(crate) fn clear(&self) {
        if self.last.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            write!(Stderr, "\r\x1b[2K").unwrap_or_default();
        }
    }
}

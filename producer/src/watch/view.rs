//! What a person or a script sees of a run: a live line on a terminal, now and then a plain one elsewhere, every
//! event for machines, nothing for who only waits.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use schemas::lifecycle::RunState;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::output::{self, Format, Printer, plain_text};
use tokio::time::Instant;

use super::words;
use crate::follow::RunEvent;
use crate::progress::Progress;

/// Least time between two plain lines about the same state of a run; nobody reads a log that scrolls.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// How often the live line turns its wheel.
const SPIN: Duration = Duration::from_millis(120);
/// Longest live line, in characters; the terminal cuts it to its width.
const LINE_LIMIT: usize = 300;

/// Where lines for people go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Talk {
    /// They are what the command is for: standard output, in the format that was asked for.
    Data(Printer),
    /// Standard output holds something else: standard error.
    Aside,
    /// Nowhere, until the run ended unsuccessfully.
    Nothing,
}

enum Look {
    /// A line that changes in place, with lines that stay above it.
    Live(ProgressBar),
    /// A line now and then.
    Plain {
        last: Option<Instant>,
        last_text: String,
        state: Option<RunState>,
    },
    /// Every event as it is.
    Feed(Printer),
    Silent,
}

/// Shows the events of one run.
pub(crate) struct View {
    talk: Talk,
    look: Look,
    /// Events up to this sequence are not shown one by one.
    show_after: u64,
}

impl View {
    pub(crate) fn new(talk: Talk, show_after: u64) -> Self {
        let can_be_live =
            io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let look = match talk {
            Talk::Nothing => Look::Silent,
            Talk::Data(printer) if printer.format() != Format::Table => Look::Feed(printer),
            Talk::Data(_) | Talk::Aside if can_be_live => Look::Live(live_line()),
            Talk::Data(_) | Talk::Aside => Look::Plain { last: None, last_text: String::new(), state: None },
        };
        Self { talk, look, show_after }
    }

    /// An event came, and has or has not changed the progress.
    pub(super) fn show(
        &mut self,
        event: &RunEvent,
        progress: &Progress,
        has_changed: bool,
    ) -> Result<(), CliError> {
        let is_shown = event.line.seq > self.show_after;
        match &self.look {
            Look::Silent => Ok(()),
            Look::Feed(printer) if is_shown => printer.stream_item(&event.line, ""),
            Look::Feed(_) => Ok(()),
            Look::Live(bar) => {
                if let Some(line) = words::of_event(event, progress).filter(|_| is_shown && has_changed) {
                    let bar = bar.clone();
                    bar.suspend(|| self.say(&line))?;
                }
                self.refresh(progress)
            }
            Look::Plain { .. } if is_shown => self.refresh(progress),
            Look::Plain { .. } => Ok(()),
        }
    }

    /// Sequence up to which everything was shown, here or by an earlier watch, once `seq` was.
    pub(super) fn shown_up_to(&self, seq: u64) -> u64 {
        seq.max(self.show_after)
    }

    /// Time went by.
    pub(super) fn refresh(&mut self, progress: &Progress) -> Result<(), CliError> {
        let text = words::status(progress, clock::now());
        match &mut self.look {
            Look::Silent | Look::Feed(_) => Ok(()),
            Look::Live(bar) => {
                bar.set_message(plain_text::one_line(&text, LINE_LIMIT));
                Ok(())
            }
            Look::Plain { last, last_text, state } => {
                // What the rate or the remaining time says changes all the time and is no news.
                let news = words::counts(progress);
                let is_due = last.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) && *last_text != news;
                if progress.state.is_final() || !is_due && *state == Some(progress.state) {
                    return Ok(());
                }
                *last = Some(Instant::now());
                *last_text = news;
                *state = Some(progress.state);
                self.say(&text)
            }
        }
    }

    /// The run ended with this event.
    pub(super) fn end(&mut self, event: &RunEvent, progress: &Progress) -> Result<(), CliError> {
        let text = words::ending(&event.event, progress);
        self.close();
        match self.look {
            Look::Silent if progress.state == RunState::Completed => Ok(()),
            Look::Silent => {
                output::note(text);
                Ok(())
            }
            Look::Feed(_) => Ok(()),
            Look::Live(_) | Look::Plain { .. } => self.say(&text),
        }
    }

    /// Takes away what must not stay on the screen.
    pub(super) fn close(&self) {
        match &self.look {
            Look::Live(bar) => bar.finish_and_clear(),
            Look::Plain { .. } | Look::Feed(_) | Look::Silent => {}
        }
    }

    fn say(&self, text: &str) -> Result<(), CliError> {
        match self.talk {
            Talk::Data(printer) => printer.line(text),
            Talk::Aside | Talk::Nothing => {
                output::note(plain_text::one_line(text, LINE_LIMIT));
                Ok(())
            }
        }
    }
}

/// A signal may take the view away at any time.
impl Drop for View {
    fn drop(&mut self) {
        self.close();
    }
}

fn live_line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is a constant"));
    bar.enable_steady_tick(SPIN);
    bar
}

//! Stopping in two stages: drain (take no more, finish what is in hand), then now.
//!
//! The first SIGINT or SIGTERM drains, the second stops at once. Whoever needs to finish something takes a
//! [`Hold`]; what is held is what a person is told the program waits for.
//!
//! Invariants: `now` implies `drain`; neither is ever taken back; the first signal decides the exit code.
//!
//! Deliberately not here: how long a drain may last. The service knows its work and sets its own grace period.

mod hold;

use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::CliError;
use crate::exit::Exit;
pub use hold::Hold;
use hold::Holds;

/// What asked the program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Interrupt,
    Terminate,
}

/// The wish to stop, shared by everything in a program.
#[derive(Debug, Clone)]
pub struct Shutdown {
    drain: CancellationToken,
    now: CancellationToken,
    signal: Arc<OnceLock<Signal>>,
    holds: Holds,
}

impl Shutdown {
    /// Listens for SIGINT and SIGTERM from here on. Needs a running tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses a signal handler.
    pub fn listen() -> Result<Self, CliError> {
        let refused = |error| CliError::internal("signals cannot be listened for").because(error);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
        let shutdown = Self::manual();
        let listener = shutdown.clone();
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                };
                listener.heed(signal);
            }
        });
        Ok(shutdown)
    }

    /// A shutdown that only its owner triggers: for tests and for services composed in one process.
    pub fn manual() -> Self {
        Self {
            drain: CancellationToken::new(),
            now: CancellationToken::new(),
            signal: Arc::default(),
            holds: Holds::default(),
        }
    }

    /// Resolves when no more work is to be taken.
    pub async fn drain(&self) {
        self.drain.cancelled().await;
    }

    /// True once no more work is to be taken.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves when work in hand is to be abandoned.
    pub async fn now(&self) {
        self.now.cancelled().await;
    }

    /// True once work in hand is to be abandoned.
    pub fn is_now(&self) -> bool {
        self.now.is_cancelled()
    }

    /// Starts the drain.
    pub fn trigger_drain(&self) {
        self.drain.cancel();
    }

    /// Ends everything.
    pub fn trigger_now(&self) {
        self.drain.cancel();
        self.now.cancel();
    }

    /// Says that `what` has to be finished before the program ends, until the hold is dropped. A client command
    /// without a hold is dropped at the first signal; with one it is given the time it needs, or the second signal.
    pub fn hold(&self, what: impl Into<String>) -> Hold {
        self.holds.take(what.into())
    }

    /// What the program waits for, as one sentence part; `None` if nothing is held.
    pub fn waits_for(&self) -> Option<String> {
        self.holds.describe()
    }

    /// Resolves when nothing is held any more.
    pub async fn released(&self) {
        self.holds.released().await;
    }

    /// The exit code of a command that a signal ended; `None` if there was no signal.
    pub fn interrupted(&self) -> Option<Exit> {
        self.signal.get().map(|signal| match signal {
            Signal::Interrupt => Exit::Interrupted,
            Signal::Terminate => Exit::Terminated,
        })
    }

    fn heed(&self, signal: Signal) {
        let is_first = self.signal.set(signal).is_ok();
        if is_first && !self.is_draining() {
            let waits_for = self.waits_for().unwrap_or_else(|| "what is in hand".to_owned());
            tracing::info!(waits_for, "stopping; a second signal stops at once");
            self.trigger_drain();
        } else {
            tracing::warn!("stopping at once");
            self.trigger_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_drains_and_the_second_stops_at_once() {
        let shutdown = Shutdown::manual();
        shutdown.heed(Signal::Terminate);
        assert!(shutdown.is_draining() && !shutdown.is_now());
        shutdown.heed(Signal::Interrupt);
        assert!(shutdown.is_now());
        assert_eq!(shutdown.interrupted(), Some(Exit::Terminated), "the first signal decides");
    }

    #[test]
    fn a_signal_during_a_drain_of_our_own_stops_at_once() {
        let shutdown = Shutdown::manual();
        shutdown.trigger_drain();
        shutdown.heed(Signal::Interrupt);
        assert!(shutdown.is_now());
    }

    #[test]
    fn a_manual_shutdown_knows_no_signal() {
        let shutdown = Shutdown::manual();
        shutdown.trigger_now();
        assert!(shutdown.is_draining());
        assert_eq!(shutdown.interrupted(), None);
    }

    #[tokio::test]
    async fn what_is_held_is_named_until_it_is_released() {
        let shutdown = Shutdown::manual();
        shutdown.released().await;
        let first = shutdown.hold("2 trials");
        let second = shutdown.hold("a batch");
        first.says("1 trial");
        assert_eq!(shutdown.waits_for().as_deref(), Some("1 trial, a batch"));
        drop((first, second));
        shutdown.released().await;
        assert_eq!(shutdown.waits_for(), None);
    }
}

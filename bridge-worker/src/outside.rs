//! What comes to a run from outside while it is worked on: orders, signals, the end of its time.

use std::time::Duration;

use service_kit::shutdown::Shutdown;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::control::Signals;
use crate::supervisor::News;

/// How long what is under way may go on after the worker was asked to drain.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(20);

/// Listens for what comes to one run.
pub(crate) struct Outside<'a> {
    cancels: Signals,
    scales: Signals,
    silenced: CancellationToken,
    shutdown: &'a Shutdown,
    deadline: Option<Instant>,
    /// How long what is under way may go on after the drain.
    grace: Duration,
    drain_ends: Option<Instant>,
    /// What has happened stays so: each of these is heard once.
    is_out_of_time: bool,
    is_cancelled: bool,
    is_interrupted: bool,
    is_stale: bool,
}

impl<'a> Outside<'a> {
    /// A run that is told of by `signals`, has time until `deadline`, and is not ours once `silenced` is cancelled.
    pub(crate) fn new(
        signals: &Signals,
        silenced: CancellationToken,
        shutdown: &'a Shutdown,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            cancels: signals.clone(),
            scales: signals.clone(),
            silenced,
            shutdown,
            deadline,
            grace: DRAIN_GRACE,
            drain_ends: None,
            is_out_of_time: false,
            is_cancelled: false,
            is_interrupted: false,
            is_stale: false,
        }
    }

    /// A run that nobody else knows of, and nobody goes on with later: a drain ends it, because what is under way is not
    /// worth waiting for, and so does `unheard`, once nobody listens.
    pub(crate) fn of_a_run_here(
        unheard: CancellationToken,
        shutdown: &'a Shutdown,
        deadline: Option<Instant>,
    ) -> Self {
        let outside = Self::new(&Signals::silent(), unheard, shutdown, deadline);
        Self { grace: Duration::ZERO, ..outside }
    }

    /// The next that happens. Cancel safe.
    pub(crate) async fn next(&mut self) -> News {
        tokio::select! {
            () = self.silenced.cancelled(), if !self.is_stale => {
                self.is_stale = true;
                News::Stale
            }
            reason = self.cancels.cancelled(), if !self.is_cancelled => {
                self.is_cancelled = true;
                News::Cancel { reason }
            }
            parallelism = self.scales.scaled() => News::Scale { parallelism },
            () = self.shutdown.now(), if !self.is_interrupted => {
                self.is_interrupted = true;
                News::Interrupt
            }
            () = self.shutdown.drain(), if self.drain_ends.is_none() => {
                self.drain_ends = Some(Instant::now() + self.grace);
                News::Drain
            }
            () = until(self.drain_ends), if !self.is_interrupted => {
                self.is_interrupted = true;
                News::Interrupt
            }
            () = until(self.deadline), if !self.is_out_of_time => {
                self.is_out_of_time = true;
                News::OutOfTime
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

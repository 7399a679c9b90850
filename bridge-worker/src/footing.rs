//! What a trial stands on, proved before requests are taken and again whenever a trial could not be begun.

use std::sync::Arc;
use std::time::Duration;

use service_kit::health::ComponentHandle;
use tokio::time::sleep;

use crate::child::end_orphans;
use crate::fitness::Fitness;
use crate::invoker::Invoker;
use crate::slots::Slots;
use crate::workdir::Workdirs;

/// Pause before the second look; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What has to work for a trial to begin.
pub(crate) struct Footing {
    /// Children start in those that are free.
    pub(crate) slots: Arc<Slots>,
    /// Calls can be made without children.
    pub(crate) invoker: Arc<Invoker>,
    /// A directory can be made.
    pub(crate) workdirs: Arc<Workdirs>,
    /// Where the proof goes.
    pub(crate) fitness: Arc<Fitness>,
    /// Tells whether children start.
    pub(crate) python_up: ComponentHandle,
    /// Tells whether directories can be made.
    pub(crate) workdir_up: ComponentHandle,
}

impl Footing {
    /// Proves it for ever: an interpreter that is being installed or a disk that is full is waited for, and said.
    pub(crate) async fn keep(self) {
        if let Ok(count @ 1..) = tokio::task::spawn_blocking(end_orphans).await {
            tracing::warn!(count, "processes of a killed worker's trials were still there and are ended");
        }
        loop {
            let mut pause = FIRST_PAUSE;
            while !self.holds().await {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            self.fitness.prove();
            self.fitness.doubted().await;
        }
    }

    async fn python(&self) -> Result<(), String> {
        if !self.invoker.needs_children() {
            return Ok(());
        }
        match self.slots.warm().await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.invoker.falls_back(&error).await?;
                tracing::warn!(%error, "Python children do not start; calls fall back to processes of their own");
                Ok(())
            }
        }
    }

    async fn holds(&self) -> bool {
        let python = self.python().await;
        let workdir = self.workdirs.take().map(drop).map_err(|failure| failure.message);
        let do_children_start = report(&self.python_up, python, "Python children do not start");
        let has_room = report(&self.workdir_up, workdir, "trials have no place to work in");
        do_children_start && has_room
    }
}

/// Passes an outcome on to the health endpoint and the log.
fn report<E: std::fmt::Display>(component: &ComponentHandle, outcome: Result<(), E>, what: &str) -> bool {
    match outcome {
        Ok(()) => component.ready(),
        Err(error) => {
            tracing::error!(%error, "{what}; the worker takes no requests until that has passed");
            component.not_ready(error);
            return false;
        }
    }
    true
}

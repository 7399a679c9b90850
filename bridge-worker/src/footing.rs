//! What a trial stands on, proved before requests are taken and again whenever a trial could not be begun.

use std::time::Duration;

use service_kit::health::ComponentHandle;
use tokio::time::sleep;

use crate::child::end_orphans;
use crate::means::Means;

/// Pause before the second look; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What has to work for a trial to begin.
pub(crate) struct Footing {
    /// Children start, or calls can be made without; a directory can be made; and where the proof goes.
    pub(crate) means: Means,
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
            self.means.fitness.prove();
            self.means.fitness.doubted().await;
        }
    }

    async fn python(&self) -> Result<(), String> {
        if !self.means.invoker.needs_children() {
            return Ok(());
        }
        match self.means.slots.warm().await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.means.invoker.falls_back(&error).await?;
                tracing::warn!(%error, "Python children do not start; calls fall back to processes of their own");
                Ok(())
            }
        }
    }

    async fn holds(&self) -> bool {
        let python = self.python().await;
        let workdir = self.means.workdirs.take().map(drop).map_err(|failure| failure.message);
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

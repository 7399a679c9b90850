//! Spare children: ready before the child they replace is gone, so that a slot whose child had to be killed goes on at once.
//!
//! A spare costs the memory of an idle child and, once, the processor time of its start; there are as many as the operator
//! says and never more than slots. One that is still starting is taken too: it is ahead of one that would start now.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::task::JoinHandle;

use crate::child::{Child, ChildSettings, StartError};

/// The spares of a worker.
pub struct Reserve {
    settings: ChildSettings,
    wanted: usize,
    spares: Mutex<VecDeque<Spare>>,
}

type Spare = JoinHandle<Result<Child, StartError>>;

impl std::fmt::Debug for Reserve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reserve").field("wanted", &self.wanted).field("ready", &self.ready()).finish()
    }
}

impl Reserve {
    /// Keeps `wanted` spares from the first child on that is taken.
    pub fn new(wanted: usize, settings: ChildSettings) -> Self {
        Self { settings, wanted, spares: Mutex::default() }
    }

    /// How children are started.
    pub fn settings(&self) -> &ChildSettings {
        &self.settings
    }

    /// A child that is ready: a spare, or one that is started now. Whatever was taken is replaced in the background.
    ///
    /// # Errors
    /// Why a child did not start; that of a spare is logged alone.
    pub async fn take(&self) -> Result<Child, StartError> {
        loop {
            let Some(spare) = self.pop() else { break };
            match spare.await {
                Ok(Ok(mut child)) => {
                    if child.is_alive() {
                        self.refill();
                        return Ok(child);
                    }
                    tracing::warn!(pid = child.pid(), "a spare child has ended while it waited");
                    child.kill().await;
                }
                Ok(Err(error)) => tracing::warn!(%error, "a spare child did not start"),
                Err(error) => tracing::warn!(%error, "the start of a spare child broke down"),
            }
        }
        let child = Child::start(&self.settings).await?;
        self.refill();
        Ok(child)
    }

    /// How many are ready.
    pub fn ready(&self) -> usize {
        self.spares().iter().filter(|spare| spare.is_finished()).count()
    }

    /// Ends the spares.
    pub async fn close(&self) {
        while let Some(spare) = self.pop() {
            // One that is starting ends when its start is given up.
            spare.abort();
            if let Ok(Ok(child)) = spare.await {
                child.kill().await;
            }
        }
    }

    fn pop(&self) -> Option<Spare> {
        self.spares().pop_front()
    }

    fn refill(&self) {
        let mut spares = self.spares();
        while spares.len() < self.wanted {
            let settings = self.settings.clone();
            spares.push_back(tokio::spawn(async move { Child::start(&settings).await }));
        }
    }

    fn spares(&self) -> std::sync::MutexGuard<'_, VecDeque<Spare>> {
        self.spares.lock().expect("nobody panics while holding the spares")
    }
}

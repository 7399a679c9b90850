//! The way to the store's thread, and its end.

use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::store::Order;

/// How long a worker that ends waits until what it kept is on the disk.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The way to the store's thread.
#[derive(Debug)]
pub(super) struct Orders(Mutex<Option<Open>>);

/// What there is of it until the cache is closed.
#[derive(Debug)]
struct Open {
    sender: SyncSender<Order>,
    /// Never sent to: it breaks when the thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Orders {
    pub(super) fn new(sender: SyncSender<Order>, ended: oneshot::Receiver<()>) -> Self {
        Self(Mutex::new(Some(Open { sender, ended })))
    }

    /// False when the store is behind, broke down or is closed.
    pub(super) fn give(&self, order: Order) -> bool {
        self.open().as_ref().is_some_and(|open| open.sender.try_send(order).is_ok())
    }

    /// Gives no more, and waits until what was given is carried out.
    pub(super) async fn end(&self) {
        let Some(Open { sender, ended }) = self.open().take() else { return };
        drop(sender);
        if timeout(CLOSE_PATIENCE, ended).await.is_err() {
            tracing::warn!("the last results may not have been kept: the disk is slow");
        }
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

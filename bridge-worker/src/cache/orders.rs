//! The way to the store's thread, and its end.

use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::store::Order;

/// How long a worker that ends waits until what it kept is on the disk.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The way to the store's thread, until the cache is closed.
#[derive(Debug)]
pub(super) struct Orders {
    sender: Mutex<Option<SyncSender<Order>>>,
    /// Never sent to: it breaks when the thread has ended.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Orders {
    pub(super) fn new(sender: SyncSender<Order>, ended: oneshot::Receiver<()>) -> Self {
        Self { sender: Mutex::new(Some(sender)), ended: Mutex::new(Some(ended)) }
    }

    /// False when the store is behind, broke down or is closed.
    pub(super) fn give(&self, order: Order) -> bool {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().is_some_and(|sender| sender.try_send(order).is_ok())
    }

    /// Gives no more, and waits until what was given is carried out.
    pub(super) async fn end(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended
            && tokio::time::timeout(CLOSE_PATIENCE, ended).await.is_err()
        {
            tracing::warn!("the last results may not have been kept: the disk is slow");
        }
    }
}

//! Keeping a request: its lease is extended while the run's children prove that they live.

use std::sync::Arc;

use service_kit::delivery::Lease;
use tokio::time::Instant;

use crate::vitals::Vitals;

/// Extends a delivery's lease until dropped.
#[derive(Debug)]
pub struct LeaseKeeper(tokio::task::JoinHandle<()>);

impl LeaseKeeper {
    /// Starts extending, three times within the consumer's ack wait.
    pub fn start(lease: Lease, vitals: Arc<Vitals>) -> Self {
        Self(tokio::spawn(async move {
            let mut tick = tokio::time::interval(lease.period());
            tick.tick().await;
            loop {
                tick.tick().await;
                if vitals.are_good(Instant::now()) {
                    lease.extend().await;
                } else {
                    tracing::warn!(
                        "a child shows no sign of life; the request is not held for it any longer"
                    );
                }
            }
        }))
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

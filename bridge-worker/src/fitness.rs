//! Whether trials can be trained here at all: children start, and there is a place for their files.
//!
//! A worker that cannot train takes no request, because another worker might; and gives back those it has. So the
//! operator finds it not ready, with the reason, instead of a queue of failed runs.

use std::sync::Arc;

use tokio::sync::watch;

/// What a worker knows of its ability to train.
#[derive(Debug)]
pub struct Fitness(watch::Sender<bool>);

impl Fitness {
    /// Nothing is known yet, so nothing is taken.
    pub fn unproven() -> Arc<Self> {
        Arc::new(Self(watch::channel(false).0))
    }

    /// As after a proof.
    pub fn proven() -> Arc<Self> {
        Arc::new(Self(watch::channel(true).0))
    }

    /// True when a trial could be begun, as far as is known.
    pub fn is_proven(&self) -> bool {
        *self.0.borrow()
    }

    /// Everything a trial needs was seen to work.
    pub fn prove(&self) {
        self.0.send_replace(true);
    }

    /// A trial could not be begun.
    pub fn doubt(&self) {
        self.0.send_replace(false);
    }

    /// Resolves when there is doubt. Cancel safe.
    pub async fn doubted(&self) {
        // The sender is ours: it does not go away.
        let _ = self.0.subscribe().wait_for(|is_proven| !is_proven).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_worker_is_fit_from_the_proof_until_the_next_doubt() {
        let fitness = Fitness::unproven();
        assert!(!fitness.is_proven() && fitness.doubted().now_or_never().is_some());
        fitness.prove();
        assert!(fitness.is_proven() && fitness.doubted().now_or_never().is_none());
        fitness.doubt();
        assert!(!fitness.is_proven());
    }
}

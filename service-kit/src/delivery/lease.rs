//! The right to keep a delivery, and how it is extended.

use std::time::Duration;

use super::Delivery;

/// Least time between two extensions of a lease, however short an operator made the ack wait.
const LEAST_PERIOD: Duration = Duration::from_millis(20);

/// The right to keep a delivery a while longer.
#[derive(Debug, Clone)]
pub struct Lease {
    client: async_nats::Client,
    reply: Option<async_nats::Subject>,
    ack_wait: Duration,
}

impl Lease {
    /// How often to extend leases of consumers with our own ack wait, of which many are extended at once.
    pub const PERIOD: Duration = Duration::from_secs(crate::topology::ACK_WAIT.as_secs() / 3);

    /// How often a lease is extended: a third of the consumer's own ack wait, so that two lost extensions do no harm.
    pub fn period(&self) -> Duration {
        (self.ack_wait / 3).max(LEAST_PERIOD)
    }

    /// How long the broker waits for a word.
    pub fn ack_wait(&self) -> Duration {
        self.ack_wait
    }

    /// Where words about the delivery go. Whoever knows it may give the delivery back; see [`give_back`](super::give_back).
    pub fn reply(&self) -> Option<&str> {
        self.reply.as_deref()
    }

    /// Tells the broker that the work goes on.
    pub async fn extend(&self) {
        if let Some(reply) = &self.reply
            && let Err(error) = self.client.publish(reply.clone(), "+WPI".into()).await
        {
            tracing::warn!(%error, "lease not extended");
        }
    }
}

impl Delivery {
    /// A handle that extends the lease of this delivery.
    pub fn lease(&self) -> Lease {
        Lease {
            client: self.message.context.client(),
            reply: self.message.reply.clone(),
            ack_wait: self.ack_wait,
        }
    }
}

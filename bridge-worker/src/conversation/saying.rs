//! What a conversation has said and the broker has not confirmed: one batch at a time, while the next is heard.

use std::future::Future;
use std::pin::Pin;

use schemas::Event;

use crate::announce::{Announcer, Unsaid};

type UnderWay<'a> = Pin<Box<dyn Future<Output = (Vec<Event>, Result<(), Unsaid>)> + Send + 'a>>;

/// A batch that is durable now, or why it is not.
pub(super) type Said = Result<Vec<Event>, Unsaid>;

/// The voice of one conversation.
pub(super) struct Saying<'a> {
    announcer: &'a Announcer,
    under_way: Option<UnderWay<'a>>,
}

impl<'a> Saying<'a> {
    /// Nothing was said yet.
    pub(super) fn new(announcer: &'a Announcer) -> Self {
        Self { announcer, under_way: None }
    }

    /// True when no batch is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// Begins to publish a batch; the one before is durable. Nothing leaves before [`Saying::confirmed`] is waited for.
    pub(super) fn begin(&mut self, events: Vec<Event>) {
        debug_assert!(self.is_idle(), "batches are published one after the other");
        let announcer = self.announcer;
        let publish = async move {
            let said = announcer.say(&events).await;
            (events, said)
        };
        self.under_way = Some(Box::pin(publish));
    }

    /// Waits until the batch is durable; for ever when there is none. Cancel safe.
    pub(super) async fn confirmed(&mut self) -> Said {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let (events, said) = under_way.await;
        self.under_way = None;
        said.map(|()| events)
    }
}

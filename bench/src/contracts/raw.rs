//! Windowed publishing as one writes it with the client alone: prepared messages, every ack awaited.

use std::collections::VecDeque;

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::message::PublishMessage;
use service_kit::broker::Broker;
use service_kit::publish::Outgoing;

/// Publishes prepared messages, so many of them on the way at once.
pub(super) async fn publish(
    broker: &Broker,
    subject: &'static str,
    messages: Vec<Outgoing>,
    window: usize,
) -> Result<(), PublishError> {
    let mut acks = VecDeque::with_capacity(window);
    for message in messages {
        if acks.len() == window {
            confirmed(acks.pop_front()).await?;
        }
        let publish = PublishMessage::build().headers(message.headers).payload(message.payload);
        acks.push_back(broker.jetstream.send_publish(subject, publish).await?);
    }
    while !acks.is_empty() {
        confirmed(acks.pop_front()).await?;
    }
    Ok(())
}

async fn confirmed(
    ack: Option<async_nats::jetstream::context::PublishAckFuture>,
) -> Result<(), PublishError> {
    match ack {
        Some(ack) => ack.await.map(drop),
        None => Ok(()),
    }
}

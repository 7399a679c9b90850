//! Many messages without waiting between them: a sliding window.
//!
//! Messages leave in order. One that was not confirmed is repeated under its id after those behind it that were on the
//! way already, and before any that was not. So the order in the stream is that of the call, except around an outage,
//! and there within one window. Who needs more sends the next message after the last is confirmed.

use std::time::Duration;

use async_nats::Subject;
use async_nats::client::traits::Publisher as _;
use async_nats::message::OutboundMessage;
use tokio::time::timeout;

use super::acks::{Acks, Answer};
use super::flight::Flight;
use super::{Outgoing, PublishFailure, Published, single};
use crate::broker::{Broker, REQUEST_TIMEOUT};

/// Up to here the client's ack futures are cheaper than an inbox, which the broker has to be told of and to forget.
const FEW: usize = 16;

/// Sends `count` messages, each made when it leaves, and again if it has to be repeated. One that cannot be made ends
/// the call when those before it are confirmed.
pub(super) async fn send_all(
    broker: &Broker,
    count: usize,
    patience: Duration,
    mut message: impl FnMut(usize) -> Result<Outgoing, PublishFailure>,
) -> Result<Vec<Published>, PublishFailure> {
    if count <= FEW {
        return send_few(broker, count, patience, message).await;
    }
    let Ok(mut acks) = Acks::open(&broker.client).await else {
        // The client has ended, and says so to whoever sends with it.
        return send_one_by_one(broker, count, patience, message).await;
    };
    let mut flight = Flight::new(count);
    let mut unwritten = None;
    loop {
        while let Some(number) = flight.next() {
            match message(number) {
                Ok(message) => begin(broker, message, number, &acks, &mut flight).await,
                Err(failure) => {
                    unwritten = Some(failure);
                    flight.ends_here();
                }
            }
            take_all(&mut acks, &mut flight);
        }
        if flight.is_waiting() {
            match timeout(REQUEST_TIMEOUT, acks.next()).await {
                Ok(Some(answer)) => flight.answered(answer),
                Ok(None) | Err(_) => flight.fell_silent(),
            }
            take_all(&mut acks, &mut flight);
        } else if let Some(number) = flight.failed() {
            let published = single::send(broker, &message(number)?, patience).await?;
            flight.answered(Answer { number, confirmed: Some(published) });
        } else if let Some(confirmed) = flight.finished() {
            return unwritten.map_or(Ok(confirmed), Err);
        }
    }
}

fn take_all(acks: &mut Acks, flight: &mut Flight) {
    while let Some(answer) = acks.take() {
        flight.answered(answer);
    }
}

/// Hands one message to the client. What the client does not take has failed, and its repetition says why.
async fn begin(broker: &Broker, message: Outgoing, number: usize, acks: &Acks, flight: &mut Flight) {
    flight.left(message.payload.len());
    let message = OutboundMessage {
        subject: Subject::from(message.subject),
        reply: Some(acks.reply_to(number)),
        payload: message.payload,
        headers: Some(message.headers),
    };
    let taken = async {
        broker.connected_within(REQUEST_TIMEOUT).await && broker.client.publish_message(message).await.is_ok()
    };
    if !matches!(timeout(REQUEST_TIMEOUT, taken).await, Ok(true)) {
        flight.answered(Answer { number, confirmed: None });
    }
}

/// Sends a few messages at once, with an ack future each. All are made before the first leaves.
async fn send_few(
    broker: &Broker,
    count: usize,
    patience: Duration,
    mut message: impl FnMut(usize) -> Result<Outgoing, PublishFailure>,
) -> Result<Vec<Published>, PublishFailure> {
    let messages = (0..count).map(&mut message).collect::<Result<Vec<_>, _>>()?;
    let mut begun = Vec::with_capacity(count);
    for message in messages {
        begun.push(single::begin(broker, message, patience).await);
    }
    let mut confirmed = Vec::with_capacity(count);
    for (number, begun) in begun.into_iter().enumerate() {
        confirmed.push(match single::outcome(begun).await {
            Ok(published) => published,
            Err(error) if single::is_refusal(&error) => {
                return Err(single::refused(&message(number)?, error));
            }
            Err(_) => single::send(broker, &message(number)?, patience).await?,
        });
    }
    Ok(confirmed)
}

async fn send_one_by_one(
    broker: &Broker,
    count: usize,
    patience: Duration,
    mut message: impl FnMut(usize) -> Result<Outgoing, PublishFailure>,
) -> Result<Vec<Published>, PublishFailure> {
    let mut confirmed = Vec::with_capacity(count);
    for number in 0..count {
        confirmed.push(single::send(broker, &message(number)?, patience).await?);
    }
    Ok(confirmed)
}

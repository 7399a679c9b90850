//! A subscription the broker has, and not only the socket.

use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;

/// A broker that is up has answered long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// Subscribes, and returns when the broker has the subscription: whatever anybody publishes afterwards is heard.
///
/// A flush would not do: it hands the subscription to the socket, and what another connection publishes then can be there
/// before it. A message to oneself comes back on the same connection when everything before it has been dealt with.
///
/// # Panics
///
/// When the broker does not answer within a minute.
pub async fn subscribe(client: &Client, subject: impl Into<String>) -> Subscriber {
    let subscriber = client.subscribe(subject.into()).await.expect("the client takes a subscription");
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.expect("the client takes a subscription");
    client.publish(inbox, "".into()).await.expect("the client takes a message");
    let heard = tokio::time::timeout(PATIENCE, echo.next()).await;
    assert!(matches!(heard, Ok(Some(_))), "the broker sends no message back within {PATIENCE:?}");
    subscriber
}

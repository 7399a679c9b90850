//! The inbox of one call: the broker's answers to many messages, told apart by the last word of their subject.
//!
//! The client's own ack futures cost a place in a table, a channel and a timer per message, which is more than writing
//! the event does. One subscription for all answers of a call costs none of them.

use std::fmt::Write as _;

use async_nats::{Client, Message, StatusCode, Subject, SubscribeError, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;

use super::Published;

/// Hexadecimal digits of a message's number. A fixed width, so that the text fills its buffer exactly and becomes a
/// subject without being copied.
const DIGITS: usize = 8;

/// What the broker said about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// Number of the message in its call.
    pub(super) number: usize,
    /// The confirmation; none when the message was refused or nobody was there to take it.
    pub(super) confirmed: Option<Published>,
}

/// Where the answers to one call arrive.
#[derive(Debug)]
pub(super) struct Acks {
    prefix: String,
    subscriber: Subscriber,
}

impl Acks {
    /// Subscribes to an inbox of its own.
    pub(super) async fn open(client: &Client) -> Result<Self, SubscribeError> {
        let prefix = format!("{}.", client.new_inbox());
        let subscriber = client.subscribe(format!("{prefix}*")).await?;
        Ok(Self { prefix, subscriber })
    }

    /// Where the answer to message `number` has to go.
    pub(super) fn reply_to(&self, number: usize) -> Subject {
        let mut subject = String::with_capacity(self.prefix.len() + DIGITS);
        subject.push_str(&self.prefix);
        write!(subject, "{number:0DIGITS$x}").expect("a string takes everything");
        subject.into()
    }

    /// The next answer, when there is one already.
    pub(super) fn take(&mut self) -> Option<Answer> {
        loop {
            let message = self.subscriber.next().now_or_never()??;
            if let Some(answer) = self.read(&message) {
                return Some(answer);
            }
        }
    }

    /// Waits for the next answer; none when the client has ended.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        loop {
            let message = self.subscriber.next().await?;
            if let Some(answer) = self.read(&message) {
                return Some(answer);
            }
        }
    }

    /// An answer to something else, which nobody should send, is dropped.
    fn read(&self, message: &Message) -> Option<Answer> {
        let number = usize::from_str_radix(message.subject.strip_prefix(&self.prefix)?, 16).ok()?;
        let is_missing = message.status == Some(StatusCode::NO_RESPONDERS);
        let confirmed = if is_missing { None } else { confirmation(&message.payload) };
        Some(Answer { number, confirmed })
    }
}

/// The confirmation in the broker's answer, unless it is a refusal.
fn confirmation(answer: &[u8]) -> Option<Published> {
    #[derive(Deserialize)]
    struct Ack {
        error: Option<serde::de::IgnoredAny>,
        seq: u64,
        #[serde(default)]
        duplicate: bool,
    }
    let ack: Ack = serde_json::from_slice(answer).ok()?;
    match ack.error {
        None => Some(Published { sequence: ack.seq, is_duplicate: ack.duplicate }),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_says_where_the_message_is_and_whether_it_was_there_before() {
        let stored = Published { sequence: 7, is_duplicate: false };
        assert_eq!(confirmation(br#"{"stream":"CEREBROS","seq":7}"#), Some(stored));
        let known = Published { sequence: 7, is_duplicate: true };
        assert_eq!(confirmation(br#"{"stream":"S","domain":"d","seq":7,"duplicate":true}"#), Some(known));
    }

    #[test]
    fn a_refusal_and_what_is_no_ack_confirm_nothing() {
        let refusal = br#"{"error":{"code":400,"err_code":10071,"description":"x"},"stream":"S","seq":0}"#;
        assert_eq!(confirmation(refusal), None);
        assert_eq!(confirmation(br#"{"stream":"S"}"#), None);
        assert_eq!(confirmation(b""), None);
    }
}

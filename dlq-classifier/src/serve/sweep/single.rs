//! What a consumer lost that is handed each message once. The broker counts no redelivery for it, so the count that tells how
//! many ran out says nothing.
//!
//! What there is instead is the moment of its last ack. Nobody has any of the messages above its floor in hand; those that
//! came into the stream after that moment were handed out after it and never acked, so they ran out. Of those before it, only
//! the first is known: an ack may have been for any of the others. The broker forgets the moment when it is restarted, and then
//! says the same as of a consumer that has acked nothing. In that case each that came after the last ack a sweep has seen is a
//! dead letter, which says so: one too many is discarded by whoever looks, one too few would be lost without a word.

use async_nats::jetstream::consumer::Info;
use schemas::Timestamp;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::history;

/// Two brokers of a cluster, of which one takes messages in and the other hands them out, may differ by so much, in
/// microseconds.
const CLOCKS_DIFFER: i64 = 100_000;

/// What the moment of the last ack tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acked {
    /// Messages from this sequence on came later.
    Before(u64),
    /// The same of an ack the broker has forgotten; there may have been later ones.
    Once(u64),
}

/// What is known of a stranded message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It ran out.
    RanOut,
    /// It ran out, or was done before the broker was restarted.
    Doubtful,
    /// It may well have been done.
    Nothing,
}

/// True for a consumer whose lost messages are told so.
pub(super) fn is_single(info: &Info) -> bool {
    info.config.max_deliver == 1
}

/// Asks where in a range the messages begin that came after the last ack, `remembered` by the sweeps.
pub(super) async fn last_ack(
    broker: &Broker,
    info: &Info,
    remembered: Option<i64>,
    range: (u64, u64),
) -> Result<Acked, String> {
    let Some(at) = remembered else { return Ok(Acked::Once(0)) };
    let after = Timestamp::from_micros(at + CLOCKS_DIFFER);
    let from = history::first_since(broker, STREAM, range, after).await.map_err(|error| error.to_string())?;
    Ok(if info.ack_floor.last_active.is_some() { Acked::Before(from) } else { Acked::Once(from) })
}

/// What is known of one of the stranded messages, the first of which is `first`. Pure.
pub(super) fn known(sequence: u64, first: Option<u64>, acked: Acked) -> Known {
    match acked {
        _ if first == Some(sequence) => Known::RanOut,
        Acked::Before(from) if sequence >= from => Known::RanOut,
        Acked::Once(from) if sequence >= from => Known::Doubtful,
        Acked::Before(_) | Acked::Once(_) => Known::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_what_came_after_the_last_ack_ran_out() {
        let all = |acked| (5..=8).map(|sequence| known(sequence, Some(5), acked)).collect::<Vec<_>>();
        use Known::{Doubtful, Nothing, RanOut};
        assert_eq!(all(Acked::Before(7)), [RanOut, Nothing, RanOut, RanOut]);
        assert_eq!(all(Acked::Before(9)), [RanOut, Nothing, Nothing, Nothing]);
        assert_eq!(all(Acked::Once(0)), [RanOut, Doubtful, Doubtful, Doubtful]);
        assert_eq!(all(Acked::Once(8)), [RanOut, Nothing, Nothing, Doubtful]);
    }
}

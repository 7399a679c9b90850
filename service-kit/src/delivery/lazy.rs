//! What most deliveries are never asked for: their headers as a sorted list, their place in words. Made when somebody
//! asks, and kept.

use std::ops::Deref;
use std::sync::OnceLock;

use async_nats::jetstream;
use async_nats::{HeaderMap, Subject};
use schemas::Timestamp;
use schemas::cloudevents::{HeaderSource, Headers};
use schemas::dead_letter::Place;

use crate::history::pairs;
use crate::publish::from_header_map;

/// What a header takes up besides its name and its value.
const HEADER_BYTES: usize = 64;

/// Headers as the client holds them; dereferenced they are ours, in the order every reader gives them.
#[derive(Debug)]
pub(super) struct Unsorted {
    map: Option<HeaderMap>,
    sorted: OnceLock<Headers>,
}

impl Unsorted {
    pub(super) fn new(map: Option<HeaderMap>) -> Self {
        Self { map, sorted: OnceLock::new() }
    }

    /// Memory they take up, about.
    pub(super) fn bytes(&self) -> usize {
        self.pairs().map(|(name, value)| name.len() + value.len() + HEADER_BYTES).sum()
    }
}

impl Deref for Unsorted {
    type Target = Headers;

    fn deref(&self) -> &Headers {
        self.sorted.get_or_init(|| from_header_map(self.map.as_ref()))
    }
}

impl HeaderSource for Unsorted {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.map.as_ref())
    }

    /// The one that would come first if they were sorted.
    fn value(&self, name: &str) -> Option<&str> {
        let alike = self.pairs().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        alike.min().map(|(_, value)| value)
    }
}

/// Where a message stands; dereferenced, in words.
#[derive(Debug)]
pub(super) struct Standing {
    subject: Subject,
    /// Names stream and consumer.
    reply: Option<Subject>,
    sequence: u64,
    deliveries: u64,
    published: Timestamp,
    place: OnceLock<Place>,
}

impl Standing {
    /// `None` for a message that carries no delivery facts.
    pub(super) fn of(message: &jetstream::Message) -> Option<Self> {
        let facts = message.info().ok()?;
        Some(Self {
            subject: message.subject.clone(),
            reply: message.reply.clone(),
            sequence: facts.stream_sequence,
            deliveries: u64::try_from(facts.delivered).unwrap_or(1),
            published: facts.published.into(),
            place: OnceLock::new(),
        })
    }

    pub(super) fn stream_sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn published(&self) -> Timestamp {
        self.published
    }
}

impl Deref for Standing {
    type Target = Place;

    fn deref(&self) -> &Place {
        self.place.get_or_init(|| {
            let (stream, consumer) = self.reply.as_deref().and_then(names).unwrap_or_default();
            Place {
                stream: stream.to_owned(),
                sequence: self.sequence,
                consumer: consumer.to_owned(),
                subject: self.subject.to_string(),
                deliveries: self.deliveries,
                first_seen: self.published,
            }
        })
    }
}

/// Stream and consumer in the subject a delivery is answered on: `$JS.ACK.<stream>.<consumer>.` and five numbers, or,
/// behind an account or domain, `$JS.ACK.<domain>.<account>.<stream>.<consumer>.` and more.
fn names(reply: &str) -> Option<(&str, &str)> {
    let words: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let at = if words.len() > 7 { 2 } else { 0 };
    Some((words.get(at)?, words.get(at + 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_and_consumer_are_read_in_both_forms_of_the_subject() {
        let short = "$JS.ACK.CEREBROS.sink.1.2.3.1700000000000000000.4";
        let long = "$JS.ACK.hub.ACC.CEREBROS.sink.1.2.3.1700000000000000000.4.token";
        assert_eq!([names(short), names(long)], [Some(("CEREBROS", "sink")); 2]);
    }

    #[test]
    fn headers_count_with_all_that_is_in_them() {
        let mut map = HeaderMap::new();
        map.insert("x-junk", "j".repeat(600_000));
        (0..1000).for_each(|number| map.insert(format!("x-{number}"), ""));
        assert!(Unsorted::new(Some(map)).bytes() > 600_000 + 1000 * HEADER_BYTES);
        assert_eq!(Unsorted::new(None).bytes(), 0);
    }

    #[test]
    fn a_header_given_twice_has_the_value_it_would_have_in_order() {
        let mut map = HeaderMap::new();
        for (name, value) in [("x-a", "2"), ("X-A", "9"), ("X-A", "3")] {
            map.append(name, value);
        }
        let headers = Unsorted::new(Some(map));
        assert_eq!(headers.value("X-a"), headers.get("X-a"));
        assert_eq!(headers.value("x-b"), None);
    }
}

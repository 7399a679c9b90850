//! How a letter keeps its message. Pure.
//!
//! Nearly always the original's headers stand beside the verdict's, and the payload is the letter's. But what the broker
//! has just taken may be too large with a verdict: it stores 64 KiB of headers with a message. Then the header block of
//! the original stands in front of its payload, as on the wire, and a header of the letter says how long it is. What is too
//! large even so stays where it is, and the letter says where.

use crate::headers::Headers;

use super::original::kept;
use super::{PREFIX, Verdict, one_line};

/// Most bytes of headers the broker stores with a message.
const MAX_HEADER_BLOCK: usize = 65_535;
/// What a header block begins with.
const VERSION: &str = "NATS/1.0\r\n";
/// Bytes of a reason that are kept beside the words about a message that was left.
const MAX_REASON_OF_LEFT: usize = 640;
/// How many bytes of the letter's payload are the header block of the original.
const HEADER_BYTES: &str = "Cerebros-Dlq-Header-Bytes";
/// What the letter of a message that was left where it is says of its payload.
const PAYLOAD_LEFT: &str = "left";

/// How a letter keeps its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Headers among the letter's headers, the payload as the letter's payload.
    Beside,
    /// The header block, then the payload, as the letter's payload.
    InFront,
    /// Not at all: the message is where it was.
    Left,
}

impl Form {
    /// The forms, in the order in which they are tried.
    pub const ALL: [Self; 3] = [Self::Beside, Self::InFront, Self::Left];
}

impl Verdict {
    /// Headers of a letter in whose payload so many bytes of headers of the original stand in front.
    pub fn headers_beside_block(&self, message_id: &str, block_bytes: usize) -> Headers {
        let mut headers = self.headers(&Headers::default(), message_id);
        headers.push(HEADER_BYTES, block_bytes.to_string());
        headers
    }

    /// Headers of a letter that keeps nothing of its message.
    pub fn headers_of_left(&self, message_id: &str) -> Headers {
        let reason = one_line(&self.reason, MAX_REASON_OF_LEFT);
        let words = format!(
            "{reason} (too large to be kept with a verdict, and still message {} of {})",
            self.sequence, self.stream
        );
        let mut headers = Self { reason: words, ..self.clone() }.headers(&Headers::default(), message_id);
        headers.push(&format!("{PREFIX}Payload"), PAYLOAD_LEFT);
        headers
    }
}

/// Whether a broker that takes messages of `max_payload` bytes takes one with these headers and so large a payload.
pub fn fits(headers: &Headers, payload_bytes: usize, max_payload: usize) -> bool {
    let lines = headers.0.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len());
    let block = VERSION.len() + lines.sum::<usize>() + "\r\n".len();
    block <= MAX_HEADER_BLOCK && block.saturating_add(payload_bytes) <= max_payload
}

/// Headers as a header block.
pub fn block(headers: &Headers) -> Vec<u8> {
    let lines: String = headers.0.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{VERSION}{lines}\r\n").into_bytes()
}

/// How many bytes in front of a letter's payload are headers of the original.
pub fn block_bytes<'a>(mut headers: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
    headers.find_map(|(name, value)| block_bytes_said(name, value)).unwrap_or(0)
}

/// The same of the one header that says so; `None` for every other.
pub fn block_bytes_said(name: &str, value: &str) -> Option<usize> {
    name.eq_ignore_ascii_case(HEADER_BYTES).then(|| value.parse().unwrap_or(0))
}

/// The headers of a letter as they would be with those of its original among them.
pub fn beside(letter: &Headers, original: &Headers) -> Headers {
    let own = letter.0.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(HEADER_BYTES)).cloned();
    let mut headers: Vec<_> = kept(original).chain(own).collect();
    headers.sort();
    Headers(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::{Place, original_headers, original_message_id};
    use crate::{Failure, FailureClass, Stage, Timestamp};

    fn verdict(reason: &str) -> Verdict {
        let place = Place {
            stream: "CEREBROS".into(),
            sequence: 42,
            consumer: "dlq-classifier".into(),
            subject: "ml.run.trial".into(),
            deliveries: 1,
            first_seen: Timestamp::default(),
        };
        let failure = Failure::new(FailureClass::Decode, Stage::Decode, reason);
        Verdict::new(&place, &failure, Timestamp::default(), &Headers::default())
    }

    #[test]
    fn a_letter_with_the_headers_in_front_tells_what_one_with_them_beside_does() {
        let original = Headers(vec![("Nats-Msg-Id".into(), "mine".into()), ("X-Mine".into(), "kept".into())]);
        let (verdict, block) = (verdict("no JSON"), block(&original));
        assert_eq!(block, b"NATS/1.0\r\nNats-Msg-Id: mine\r\nX-Mine: kept\r\n\r\n");
        let letter = verdict.headers_beside_block("id", block.len());
        let pairs = letter.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(block_bytes(pairs), block.len());
        let whole = beside(&letter, &original);
        assert_eq!(original_message_id(&whole), Some("mine"));
        assert_eq!(original_headers(&whole).0, [("X-Mine".to_owned(), "kept".to_owned())]);
        assert_eq!(Verdict::read(&whole), Some(verdict));
    }

    #[test]
    fn a_letter_of_a_message_that_was_left_says_so_behind_the_longest_reason() {
        let letter = verdict(&"x".repeat(5000)).headers_of_left("id");
        let read = Verdict::read(&letter).unwrap();
        assert!(read.reason.ends_with("and still message 42 of CEREBROS)"), "{}", read.reason);
        assert_eq!(letter.get("Cerebros-Dlq-Payload"), Some(PAYLOAD_LEFT));
    }

    #[test]
    fn the_broker_s_two_limits_are_kept() {
        let headers = |bytes: usize| Headers(vec![("A".into(), "x".repeat(bytes - 17))]);
        assert_eq!(block(&headers(100)).len(), 100);
        assert!(fits(&headers(MAX_HEADER_BLOCK), 1, 1 << 20));
        assert!(!fits(&headers(MAX_HEADER_BLOCK + 1), 1, 1 << 20));
        assert!(fits(&headers(100), 900, 1000) && !fits(&headers(100), 901, 1000));
    }
}

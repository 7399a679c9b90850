//! The headers the message had: as its letter keeps them, and as they were before it died.
//!
//! Invariant: none of them acts again on the broker, and none is taken for a verdict.

use super::PREFIX;
use crate::headers::{Headers, header, starts_with_ignoring_case};

/// Prefix under which the broker's own headers are kept.
const ORIGINAL_PREFIX: &str = "Cerebros-Original-";

/// The headers the message had before it died, as far as they may be sent again: without the verdict, without what
/// had a meaning for the broker.
pub fn original_headers(headers: &Headers) -> Headers {
    Headers(headers.0.iter().filter(|(name, _)| !has_another_meaning(name)).cloned().collect())
}

/// The message id the message had before it died.
pub fn original_message_id(headers: &Headers) -> Option<&str> {
    headers.get(&format!("{ORIGINAL_PREFIX}{}", header::MESSAGE_ID))
}

/// The headers of a message as its letter has them. What begins like a header of the letter's, or has a meaning for the
/// broker, is kept under another name, and no name of a message becomes that of another.
pub(super) fn kept(original: &Headers) -> impl Iterator<Item = (String, String)> {
    original.0.iter().map(|(name, value)| {
        let name = if has_another_meaning(name) { format!("{ORIGINAL_PREFIX}{name}") } else { name.clone() };
        (name, value.clone())
    })
}

fn has_another_meaning(name: &str) -> bool {
    [PREFIX, ORIGINAL_PREFIX, "Nats-"].iter().any(|prefix| starts_with_ignoring_case(name, prefix))
}

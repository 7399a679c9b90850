//! Limits that more than one room keeps.

/// Largest event we write or read, headers not counted. It is half of the broker's default limit of 1 MiB, so that
/// a dead letter, which adds headers, always fits.
pub(crate) const MAX_EVENT_BYTES: usize = 512 * 1024;

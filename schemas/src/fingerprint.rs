//! The name a schema has on the wire.

/// CRC-64-AVRO fingerprint of a schema, in the byte order of the single-object header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 8]);

impl std::fmt::Display for Fingerprint {
    /// Hex, most significant digit first, as Avro's own tools print it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", u64::from_le_bytes(self.0))
    }
}

impl Fingerprint {
    /// Reads what [`Display`](std::fmt::Display) writes: sixteen lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(|number| Self(number.to_le_bytes()))
    }
}

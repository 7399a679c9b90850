//! Dead letters in whose payload the headers of the original stand in front, because the broker has no room for them where
//! they belong: read as if they stood there.

use schemas::dead_letter::{beside, block_bytes};
use schemas::subject::DLQ_STREAM;

use super::Kept;
use super::stored::headers_of;

/// A message of a stream as it is meant.
pub(super) fn opened(stream: &str, kept: Kept) -> Kept {
    let pairs = kept.headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let block_bytes = if stream == DLQ_STREAM { block_bytes(pairs) } else { 0 };
    if block_bytes == 0 || block_bytes > kept.payload.len() {
        return kept;
    }
    let original = headers_of(&kept.payload[..block_bytes]);
    Kept { headers: beside(&kept.headers, &original), payload: kept.payload.slice(block_bytes..), ..kept }
}

#[cfg(test)]
mod tests {
    use schemas::Timestamp;
    use schemas::cloudevents::Headers;

    use super::*;

    fn kept(said: &str) -> Kept {
        Kept {
            sequence: 1,
            subject: "cerebros.dlq.decode.ml.run.trial".to_owned(),
            time: Timestamp::default(),
            headers: Headers(vec![("Cerebros-Dlq-Header-Bytes".to_owned(), said.to_owned())]),
            payload: b"NATS/1.0\r\nX-A: b\r\n\r\n{".to_vec().into(),
            schema: None,
        }
    }

    #[test]
    fn only_a_letter_is_opened_and_only_at_a_place_it_has() {
        let letter = opened(DLQ_STREAM, kept("20"));
        assert_eq!(
            (letter.headers.0.as_slice(), &letter.payload[..]),
            ([("X-A".into(), "b".into())].as_slice(), &b"{"[..])
        );
        for (stream, said) in [("CEREBROS", "20"), (DLQ_STREAM, "200"), (DLQ_STREAM, "-1")] {
            assert_eq!(opened(stream, kept(said)).payload, kept(said).payload, "{said} in {stream}");
        }
    }
}

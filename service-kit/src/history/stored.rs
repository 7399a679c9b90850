//! Single messages of a stream, asked of the broker's JSON API: by sequence, by subject, by time. It hands out headers in
//! base64, so that headers which break the protocol break nothing here.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use schemas::Timestamp;
use schemas::cloudevents::Headers;
use serde::Deserialize;

use super::broken;
use crate::broker::Broker;
use crate::error::CliError;

/// A message as the stream keeps it, whatever its headers are.
#[derive(Debug, Clone)]
pub struct Raw {
    /// Subject; what is not UTF-8 in it is replaced.
    pub subject: String,
    /// Its sequence.
    pub sequence: u64,
    /// When the stream took it in.
    pub time: Timestamp,
    /// Its header block, `NATS/1.0` and all; empty when there is none.
    pub header_block: Vec<u8>,
    /// Its payload.
    pub payload: Bytes,
}

impl Raw {
    /// Its headers. What is no header in its header block is left out.
    pub fn headers(&self) -> Headers {
        headers_of(&self.header_block)
    }
}

/// The message at a sequence of a stream; `None` when it is gone. Read through the broker's JSON API, which hands out
/// headers in base64, so that headers which break the protocol break nothing here.
pub async fn raw(broker: &Broker, stream: &str, sequence: u64) -> Result<Option<Raw>, CliError> {
    get(broker, stream, &serde_json::json!({ "seq": sequence })).await
}

/// The first message at a sequence or behind it on a subject, which may have wildcards; `None` when there is none.
pub async fn next_at(
    broker: &Broker,
    stream: &str,
    sequence: u64,
    filter: &str,
) -> Result<Option<Raw>, CliError> {
    get(broker, stream, &serde_json::json!({ "seq": sequence, "next_by_subj": filter })).await
}

/// The first of the sequences `first` to `last` of a stream that came in at a time or later; the one behind them when
/// none did.
pub async fn first_since(
    broker: &Broker,
    stream: &str,
    (first, last): (u64, u64),
    time: Timestamp,
) -> Result<u64, CliError> {
    let (mut low, mut high) = (first, last + 1);
    while low < high {
        let middle = u64::midpoint(low, high);
        match next_at(broker, stream, middle, ">").await? {
            Some(message) if message.time < time => low = message.sequence + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

async fn get(broker: &Broker, stream: &str, request: &serde_json::Value) -> Result<Option<Raw>, CliError> {
    let Some(message) = asked(broker, stream, request).await? else { return Ok(None) };
    let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|error| broken(&error));
    Ok(Some(Raw {
        subject: message.subject,
        sequence: message.seq,
        time: message.time,
        header_block: decode(&message.hdrs)?,
        payload: decode(&message.data)?.into(),
    }))
}

/// The message the broker finds for a request to its JSON API.
async fn asked(
    broker: &Broker,
    stream: &str,
    request: &serde_json::Value,
) -> Result<Option<Message>, CliError> {
    let subject = format!("STREAM.MSG.GET.{stream}");
    let answer: Response<Answer> =
        broker.jetstream.request(subject, request).await.map_err(|error| broken(&error))?;
    match answer {
        Response::Ok(answer) => Ok(Some(answer.message)),
        Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
        Response::Err { error } => Err(broken(&error)),
    }
}

/// Sequence of the first message from `from` on that came on a subject `filter` takes (all when it is empty); `None`
/// when there is none.
pub async fn next_on(
    broker: &Broker,
    stream: &str,
    filter: &str,
    from: u64,
) -> Result<Option<u64>, CliError> {
    let filter = if filter.is_empty() { ">" } else { filter };
    let request = serde_json::json!({ "seq": from, "next_by_subj": filter });
    Ok(asked(broker, stream, &request).await?.map(|message| message.seq))
}

/// The headers in a block, all values of each, in the order every reader gives them.
pub(super) fn headers_of(block: &[u8]) -> Headers {
    let text = String::from_utf8_lossy(block);
    let mut headers = Headers::default();
    for line in text.lines().skip(1) {
        match (line.starts_with(char::is_whitespace), headers.0.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => value.push_str(line.trim_end()),
            (false, _, Some((name, value))) => headers.push(name, value.trim()),
            (true, None, _) | (false, _, None) => {}
        }
    }
    headers.0.sort();
    headers
}

#[derive(Deserialize)]
struct Answer {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_block_is_read_whole_and_what_is_no_header_is_left_out() {
        let block = b"NATS/1.0\r\nB: 2\r\nA: one\r\nnonsense\r\nA: two\r\n more\r\n\r\n";
        let expected = [("A", "one"), ("A", "two more"), ("B", "2")];
        assert_eq!(headers_of(block).0, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(headers_of(b"").0.is_empty());
    }
}

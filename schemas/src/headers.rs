//! Headers of a message.

/// Header names of our own.
#[expect(missing_docs, reason = "the names are the documentation")]
pub mod header {
    pub const MESSAGE_ID: &str = "Nats-Msg-Id";
    pub const CONTENT_TYPE: &str = "Content-Type";
    /// Some publishers write the content type as an attribute of the envelope.
    pub const DATA_CONTENT_TYPE: &str = "ce-datacontenttype";
    pub const RUN_ID: &str = "Cerebros-Run-Id";
    pub const ATTEMPT: &str = "Cerebros-Attempt";
    pub const CAUSATION_ID: &str = "Cerebros-Causation-Id";
    pub const CORRELATION_ID: &str = "Cerebros-Correlation-Id";
    pub const TRACEPARENT: &str = "traceparent";
    /// On a request for a run that is over: which trials are trained again, see [`RETRY_FAILED`].
    pub const RETRY: &str = "Cerebros-Retry";
    /// Those that failed or were cancelled; the others keep their results, and the run may have completed.
    pub const RETRY_FAILED: &str = "failed";
    /// On a request for a run that one process carries out, which this names; workers that serve leave it alone.
    pub const RESERVED: &str = "Cerebros-Reserved";
    /// On a request for a run: when it is no longer wanted, see [`crate::expiry`].
    pub const EXPIRY: &str = "ce-expirytime";
}

/// Headers of a message, in order. Names are compared without case, as HTTP does and NATS clients expect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Adds a header.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Adds a header when there is a value.
    pub fn push_some(&mut self, name: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.push(name, value);
        }
    }
}

/// Headers in whatever form somebody holds them, so that what is to be read of them need not be copied first.
pub trait HeaderSource {
    /// All of them, every value.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)>;

    /// The value of a header that counts.
    fn value(&self, name: &str) -> Option<&str>;
}

impl HeaderSource for Headers {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.get(name)
    }
}

/// True if a header's name begins so, in whatever case.
pub(crate) fn starts_with_ignoring_case(name: &str, prefix: &str) -> bool {
    let head = name.as_bytes().get(..prefix.len());
    // Nearly always it is written as it is meant, or something else altogether.
    head.is_some_and(|head| head == prefix.as_bytes() || head.eq_ignore_ascii_case(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_compared_without_case() {
        let headers = Headers(vec![("CE-Type".to_owned(), "x".to_owned())]);
        assert_eq!(headers.get("ce-type"), Some("x"));
        assert_eq!(headers.get("ce-id"), None);
    }
}

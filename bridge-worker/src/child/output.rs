//! What user code prints: read to the end so that it never blocks, and only the last part kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemas::failure::EXCERPT_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the end of a stream is waited for whose process is gone: something it started may hold the stream open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The last [`EXCERPT_BYTES`] of one standard stream.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: CancellationToken,
}

impl Tail {
    /// Follows a stream until it ends.
    pub fn follow(source: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let tail = Self::default();
        let kept = tail.clone();
        tokio::spawn(async move {
            let mut source = source;
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = source.read(&mut buffer).await {
                kept.push(&buffer[..read]);
            }
            kept.ended.cancel();
        });
        tail
    }

    /// What is kept, as text; bytes that are none become a replacement character.
    pub fn text(&self) -> String {
        let kept = self.kept.lock().expect("nobody panics while holding the tail");
        String::from_utf8_lossy(&kept).into_owned()
    }

    /// What is kept of a process that is gone, once all of it was read.
    pub async fn last_words(&self) -> String {
        let _ = timeout(LAST_WORDS, self.ended.cancelled()).await;
        self.text()
    }

    /// Forgets what was printed before.
    pub fn clear(&self) {
        self.kept.lock().expect("nobody panics while holding the tail").clear();
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock().expect("nobody panics while holding the tail");
        let fresh = &bytes[bytes.len().saturating_sub(EXCERPT_BYTES)..];
        let surplus = (kept.len() + fresh.len()).saturating_sub(EXCERPT_BYTES);
        let surplus = surplus.min(kept.len());
        kept.drain(..surplus);
        kept.extend_from_slice(fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let tail = Tail::default();
        tail.push(&vec![b'a'; EXCERPT_BYTES]);
        tail.push(b"end");
        assert_eq!(tail.text().len(), EXCERPT_BYTES);
        assert!(tail.text().ends_with("aend"));
        tail.push(&vec![b'b'; 3 * EXCERPT_BYTES]);
        assert_eq!(tail.text(), "b".repeat(EXCERPT_BYTES));
        tail.clear();
        assert!(tail.text().is_empty());
    }
}

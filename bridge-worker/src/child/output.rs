//! What user code prints: read to the end so that it never blocks, and only the last part kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemas::failure::EXCERPT_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::sync::CancellationToken;

/// How long the last words of an ended process are waited for.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// The last part of one standard stream.
#[derive(Debug, Clone)]
pub struct Tail {
    limit: usize,
    kept: Arc<Mutex<Kept>>,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u8>,
    is_cut: bool,
}

impl Tail {
    /// Follows a stream until it ends, and keeps its last [`EXCERPT_BYTES`].
    pub fn follow(source: impl AsyncRead + Unpin + Send + 'static) -> Self {
        Self::follow_last(source, EXCERPT_BYTES)
    }

    /// Follows a stream until it ends, and keeps its last `limit` bytes.
    pub fn follow_last(source: impl AsyncRead + Unpin + Send + 'static, limit: usize) -> Self {
        let tail = Self::of(limit);
        let kept = tail.clone();
        tokio::spawn(async move {
            let _ended = kept.ended.clone().drop_guard();
            let mut source = source;
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = source.read(&mut buffer).await {
                kept.push(&buffer[..read]);
            }
        });
        tail
    }

    fn of(limit: usize) -> Self {
        Self { limit, kept: Arc::default(), ended: CancellationToken::new() }
    }

    /// What an ended process printed last, as text: all that lies in the pipe. Whoever else holds the stream open is not
    /// waited for.
    pub async fn last_words(&self) -> String {
        let _ = tokio::time::timeout(LAST_WORDS_LIMIT, self.ended()).await;
        self.text()
    }

    /// Resolves when nothing more comes.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// What is kept, as text; bytes that are none become a replacement character.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.kept().bytes.make_contiguous()).into_owned()
    }

    /// True when more was printed than is kept.
    pub fn is_cut(&self) -> bool {
        self.kept().is_cut
    }

    /// Forgets what was printed before.
    pub fn clear(&self) {
        *self.kept() = Kept::default();
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().expect("nobody panics while holding the tail")
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.kept();
        let fresh = &bytes[bytes.len().saturating_sub(self.limit)..];
        let surplus = (kept.bytes.len() + fresh.len()).saturating_sub(self.limit).min(kept.bytes.len());
        kept.is_cut |= surplus > 0 || fresh.len() < bytes.len();
        kept.bytes.drain(..surplus);
        kept.bytes.extend(fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let tail = Tail::of(EXCERPT_BYTES);
        tail.push(&vec![b'a'; EXCERPT_BYTES]);
        assert!(!tail.is_cut());
        tail.push(b"end");
        assert_eq!(tail.text().len(), EXCERPT_BYTES);
        assert!(tail.text().ends_with("aend") && tail.is_cut());
        tail.push(&vec![b'b'; 3 * EXCERPT_BYTES]);
        assert_eq!(tail.text(), "b".repeat(EXCERPT_BYTES));
        tail.clear();
        assert!(tail.text().is_empty() && !tail.is_cut());
    }
    #[tokio::test]
    async fn the_last_words_are_those_up_to_the_end_of_the_stream() {
        let (mut writer, reader) = tokio::io::duplex(16);
        let tail = Tail::follow(reader);
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"said and not yet read when it ended")
            .await
            .unwrap();
        drop(writer);
        assert_eq!(tail.last_words().await, "said and not yet read when it ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_somebody_holds_open_is_not_waited_for_long() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let tail = Tail::follow(reader);
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"words").await.unwrap();
        assert_eq!(tail.last_words().await, "words");
    }
}

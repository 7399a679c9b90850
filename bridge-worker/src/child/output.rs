//! What user code prints: read to the end so that it never blocks, and only the last part kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemas::failure::EXCERPT_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;

/// How long the last words of an ended process are waited for: they lie in the pipe already.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// The last [`EXCERPT_BYTES`] of one standard stream.
#[derive(Debug)]
pub struct Tail {
    kept: Kept,
    following: JoinHandle<()>,
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Tail {
    /// Follows a stream until it ends.
    pub fn follow(source: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let kept = Kept::default();
        let pushing = kept.clone();
        let following = tokio::spawn(async move {
            let mut source = source;
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = source.read(&mut buffer).await {
                pushing.push(&buffer[..read]);
            }
        });
        Self { kept, following }
    }

    /// Forgets what was printed before.
    pub fn clear(&self) {
        self.kept.lock().clear();
    }

    /// What an ended process printed last, as text; bytes that are none become a replacement character.
    pub async fn last_words(mut self) -> String {
        // Whoever else still holds the stream open is not waited for.
        if tokio::time::timeout(LAST_WORDS_LIMIT, &mut self.following).await.is_err() {
            self.following.abort();
        }
        self.kept.text()
    }
}

impl Kept {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.lock();
        let fresh = &bytes[bytes.len().saturating_sub(EXCERPT_BYTES)..];
        let surplus = (kept.len() + fresh.len()).saturating_sub(EXCERPT_BYTES);
        let surplus = surplus.min(kept.len());
        kept.drain(..surplus);
        kept.extend_from_slice(fresh);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock()).into_owned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().expect("nobody panics while holding the tail")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let kept = Kept::default();
        kept.push(&vec![b'a'; EXCERPT_BYTES]);
        kept.push(b"end");
        assert_eq!(kept.text().len(), EXCERPT_BYTES);
        assert!(kept.text().ends_with("aend"));
        kept.push(&vec![b'b'; 3 * EXCERPT_BYTES]);
        assert_eq!(kept.text(), "b".repeat(EXCERPT_BYTES));
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

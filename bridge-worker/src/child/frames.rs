//! What is said to a child and what it says: whole frames, each within its time.
//!
//! A frame to it that was broken off is noted: nothing is sent behind it.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;

use super::Child;
use super::protocol::{FromChild, MAX_FRAME_BYTES, ToChild};

/// Silence after which a child counts as lost.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(15);
/// How long a child may take to read the order to stop, whose call may be over before.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// Why nothing more comes from a child.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Its pipe ended: the process is gone or about to be.
    #[error("the process ended")]
    Ended,
    /// It was silent for too long.
    #[error("no sign of life for {} s", SILENCE_LIMIT.as_secs())]
    Silent,
    /// It ended well and left nothing that could be read as a result; why.
    #[error("{0}")]
    NoResult(String),
    /// It said something that is no message.
    #[error("it broke the protocol: {0}")]
    Broken(String),
}

impl Child {
    /// Sends one message. Dropped in the middle, the child is spent.
    ///
    /// # Errors
    /// `TimedOut` when the child does not read it within [`SILENCE_LIMIT`]; anything else when it has ended.
    pub async fn send(&mut self, message: &ToChild<'_>) -> std::io::Result<()> {
        self.send_within(message, SILENCE_LIMIT).await
    }

    /// Asks for the end of a call; of a child that does not read, not for long.
    ///
    /// # Errors
    /// See [`Child::send`].
    pub async fn stop(&mut self, call: u64, reason: &'static str) -> std::io::Result<()> {
        self.send_within(&ToChild::Stop { id: call, reason }, STOP_LIMIT).await
    }

    async fn send_within(&mut self, message: &ToChild<'_>, limit: Duration) -> std::io::Result<()> {
        if self.is_torn {
            return Err(std::io::Error::other("an earlier message was broken off"));
        }
        let mut frame = vec![0; 4];
        serde_json::to_writer(&mut frame, message)?;
        let length = u32::try_from(frame.len() - 4).map_err(std::io::Error::other)?;
        if frame.len() - 4 > MAX_FRAME_BYTES {
            return Err(std::io::Error::other(format!(
                "a message of {length} bytes is over the limit of {MAX_FRAME_BYTES}"
            )));
        }
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.is_torn = true;
        tokio::time::timeout(limit, self.orders.write_all(&frame)).await??;
        self.is_torn = false;
        Ok(())
    }

    /// The next message within [`SILENCE_LIMIT`]. Cancel safe.
    pub async fn receive(&mut self) -> Result<FromChild, Lost> {
        self.receive_within(SILENCE_LIMIT).await
    }

    pub(super) async fn receive_within(&mut self, limit: Duration) -> Result<FromChild, Lost> {
        match tokio::time::timeout(limit, self.frames.next()).await {
            Err(_) => Err(Lost::Silent),
            Ok(frame) => read(frame),
        }
    }

    /// The next message, if it is there already.
    pub fn ready(&mut self) -> Option<Result<FromChild, Lost>> {
        self.frames.next().now_or_never().map(read)
    }
}

/// What came out of the pipe.
fn read(frame: Option<std::io::Result<BytesMut>>) -> Result<FromChild, Lost> {
    match frame {
        None => Err(Lost::Ended),
        // A process may end in the middle of a frame: then it is how it ended that matters.
        Some(Err(error)) if error.kind() != std::io::ErrorKind::InvalidData => Err(Lost::Ended),
        Some(Err(error)) => Err(Lost::Broken(error.to_string())),
        Some(Ok(frame)) => {
            FromChild::read(&frame).map_err(|error| Lost::Broken(format!("a frame is no message: {error}")))
        }
    }
}

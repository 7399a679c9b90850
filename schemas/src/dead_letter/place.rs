//! Where a message stood when it was given up, and the names that follow from it: of the entry, of the run, of the letter.
//!
//! The same place gives the same names whoever asks, so that two who give one message up make one entry.

use sha2::{Digest, Sha256};

use crate::{RunId, Timestamp};

/// Where a message stood when it was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Stream the message was in.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Consumer that could not handle it.
    pub consumer: String,
    /// Subject it came on.
    pub subject: String,
    /// Deliveries it took.
    pub deliveries: u64,
    /// When the stream took it in.
    pub first_seen: Timestamp,
}

impl Place {
    /// The entry's id: the sequence, and eight digits that tell consumers and streams apart. The same place gives the
    /// same id whoever asks.
    pub fn entry_id(&self) -> String {
        let digest = Sha256::new()
            .chain_update(&self.stream)
            .chain_update([0])
            .chain_update(&self.consumer)
            .chain_update(self.first_seen.micros().to_be_bytes())
            .finalize();
        let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{digits}", self.sequence)
    }

    /// The run that a request at this place is for when it names none: the same for every reader.
    pub fn derived_run(&self) -> RunId {
        RunId::derive(&self.stream, self.sequence, u64::try_from(self.first_seen.millis()).unwrap_or(0))
    }

    /// The message id that makes a second dead letter of one cause a duplicate.
    pub fn message_id(&self) -> String {
        format!("dlq:{}:{}:{}", self.stream, self.sequence, self.consumer)
    }

    /// The same where the letter of another message has that id. A stream gives a sequence out again after it has lost
    /// its tail with the power, came back from a backup or was made anew.
    pub fn own_message_id(&self) -> String {
        format!("{}:{}", self.message_id(), self.first_seen.micros())
    }
}

//! The end of a run that was judged before one that came first: settled it is already, so its letter is written from the
//! stream, by its sequence.

use std::time::Duration;

use schemas::dead_letter::Place;
use schemas::subject::STREAM;
use schemas::{Failure, RunId};
use service_kit::broker::Broker;
use service_kit::topology::CLASSIFIER_CONSUMER;
use service_kit::{dead_letter, history};

use super::{Note, RunNote, World};

/// How long the letter is repeated: everything else waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is to be done about it.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Displaced {
    /// Sequence of the event that is the second by now.
    pub(in crate::serve) sequence: u64,
    /// What is wrong with it.
    pub(in crate::serve) failure: Failure,
    /// The note that has it as the first, and what it is to say.
    pub(super) was: Note<RunNote>,
    pub(super) next: RunNote,
}

impl World {
    /// Writes the letter, and then the note: whoever is killed in between finds the letter kept. False when somebody else
    /// has changed the note, and the run has to be judged once more.
    ///
    /// # Errors
    /// The broker does not do it.
    pub(in crate::serve) async fn displace(
        &mut self,
        run: &RunId,
        displaced: &Displaced,
    ) -> Result<bool, String> {
        bury(&self.broker, displaced).await?;
        Ok(self.notes.write(run.as_str(), &displaced.was, &displaced.next).await?.is_some())
    }
}

async fn bury(broker: &Broker, displaced: &Displaced) -> Result<(), String> {
    let found = history::at(broker, STREAM, displaced.sequence).await.map_err(|error| error.what)?;
    // Of what the stream has dropped nothing is left to be told.
    let Some(kept) = found else { return Ok(()) };
    let place = Place {
        stream: STREAM.to_owned(),
        sequence: kept.sequence,
        consumer: CLASSIFIER_CONSUMER.to_owned(),
        subject: kept.subject,
        deliveries: 1,
        first_seen: kept.time,
    };
    let failure = &displaced.failure;
    let published =
        dead_letter::publish_within(broker, &place, failure, &kept.headers, kept.payload, PATIENCE).await;
    published.map(drop).map_err(|error| error.to_string())
}

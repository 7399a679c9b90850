//! Messages that came to nothing at some consumer of the event stream: fetched by their sequence and dead-lettered in
//! that consumer's name. Whoever finds one ([`super::advisory`], [`super::sweep`], the consumer itself) writes the same
//! message id, so that one cause makes one entry.
//!
//! A message that is gone from the stream leaves a letter all the same, without its payload: that it was lost is known,
//! and who looks for it has to find that.

use schemas::dead_letter::Place;
use schemas::subject::STREAM;
use schemas::{Failure, FailureClass, Stage, Timestamp};
use service_kit::broker::Broker;
use service_kit::topology::CLASSIFIER_CONSUMER;
use service_kit::{dead_letter, history};

use super::Measures;
use super::told::Told;

/// Subject of a message that is gone, where nothing tells on which it came.
const UNKNOWN_SUBJECT: &str = "unknown";
/// Longest name or reason somebody else gave that is repeated.
const MAX_WORDS: usize = 512;

/// A message a consumer is through with, though it has not done it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lost {
    pub(super) consumer: String,
    pub(super) sequence: u64,
    pub(super) deliveries: u64,
    pub(super) failure: Failure,
    /// When it was noticed; stands in for the time of a message that is gone.
    pub(super) noticed: Timestamp,
}

impl Lost {
    /// Deliveries ran out: the consumer died on the last one, or never settled.
    pub(super) fn exhausted(consumer: &str, sequence: u64, deliveries: u64, noticed: Timestamp) -> Self {
        let words =
            format!("consumer {consumer} was handed the message {deliveries} times and never settled it");
        let failure = Failure::new(FailureClass::WorkerLost, Stage::Execute, words);
        Self { consumer: consumer.to_owned(), sequence, deliveries, failure, noticed }
    }

    /// Of `of` messages `ran_out` did, and nobody can tell which.
    pub(super) fn one_of(
        consumer: &str,
        sequence: u64,
        deliveries: u64,
        (ran_out, of): (u64, u64),
        noticed: Timestamp,
    ) -> Self {
        let words = format!(
            "of {of} messages consumer {consumer} was handed last, {ran_out} ran out of deliveries, and the broker does not say \
             which: this may be one it has done"
        );
        let failure = Failure::new(FailureClass::WorkerLost, Stage::Execute, words);
        Self { failure, ..Self::exhausted(consumer, sequence, deliveries, noticed) }
    }

    /// Handed over once and not acked since, unless that was forgotten.
    pub(super) fn in_doubt(consumer: &str, sequence: u64, noticed: Timestamp) -> Self {
        let words = format!(
            "consumer {consumer} was handed the message once and has acked nothing since, as far as the broker remembers: if the \
             broker was restarted meanwhile, this may be one it has done"
        );
        let failure = Failure::new(FailureClass::WorkerLost, Stage::Execute, words);
        Self { failure, ..Self::exhausted(consumer, sequence, 1, noticed) }
    }

    fn is_terminated(&self) -> bool {
        self.failure.class == FailureClass::Unknown
    }

    /// The consumer terminated it.
    pub(super) fn terminated(
        consumer: &str,
        sequence: u64,
        deliveries: u64,
        reason: Option<&str>,
        noticed: Timestamp,
    ) -> Self {
        let words = match reason.map(str::trim).filter(|reason| !reason.is_empty()) {
            Some(reason) => dead_letter_words(reason),
            None => format!("consumer {consumer} terminated the message and gave no reason"),
        };
        let failure = Failure::new(FailureClass::Unknown, Stage::Execute, words);
        Self { consumer: consumer.to_owned(), sequence, deliveries, failure, noticed }
    }
}

fn dead_letter_words(reason: &str) -> String {
    schemas::dead_letter::one_line(reason, MAX_WORDS)
}

/// Writes the letter of a lost message, unless it is there; `told` says so where the broker may not know any more.
pub(super) async fn bury(
    broker: &Broker,
    measures: &Measures,
    lost: &Lost,
    told: Option<&mut Told>,
) -> Result<(), String> {
    let (sequence, consumer) = (lost.sequence, lost.consumer.as_str());
    let kept = history::at(broker, STREAM, sequence).await.map_err(|error| error.to_string())?;
    let is_gone = kept.is_none();
    let place = |subject: String, first_seen: Timestamp| Place {
        stream: STREAM.to_owned(),
        sequence,
        consumer: lost.consumer.clone(),
        subject,
        deliveries: lost.deliveries,
        first_seen,
    };
    let place = match &kept {
        Some(kept) => place(kept.subject.clone(), kept.time),
        None => {
            let place = place(subject_of(broker, consumer).await, lost.noticed);
            if lost.is_terminated() { of_nobody(place) } else { place }
        }
    };
    if let Some(told) = told
        && told.has(broker, &place, is_gone).await?
    {
        return Ok(());
    }
    let published = match kept {
        Some(kept) => dead_letter::publish(broker, &place, &lost.failure, &kept.headers, kept.payload).await,
        None => dead_letter::publish_gone(broker, &place, &lost.failure).await,
    };
    if published.map_err(|error| error.to_string())?.is_duplicate {
        return Ok(());
    }
    let (class, reason) = (lost.failure.class, &lost.failure.message);
    measures.given_up(class);
    if is_gone {
        measures.gone();
    }
    tracing::info!(sequence, consumer, reason, is_gone, "message {sequence} came to nothing, dead-lettered");
    Ok(())
}

/// The place of a message that was deleted while consumers had it in hand, of which the broker says that each of them
/// terminated it. That is nobody's fault of them, and one cause: it is one letter, in the classifier's name, which is also
/// the one of a message that was deleted because no client can receive it.
fn of_nobody(place: Place) -> Place {
    Place { consumer: CLASSIFIER_CONSUMER.to_owned(), deliveries: 1, ..place }
}

/// Where what a consumer takes comes from, if that can only be one place.
async fn subject_of(broker: &Broker, consumer: &str) -> String {
    let config = async {
        let stream = broker.jetstream.get_stream_no_info(STREAM).await.ok()?;
        stream.consumer_info(consumer).await.ok().map(|info| info.config)
    };
    let filters = match config.await {
        Some(config) if config.filter_subjects.is_empty() => vec![config.filter_subject],
        Some(config) => config.filter_subjects,
        None => Vec::new(),
    };
    match filters.as_slice() {
        [only] if !only.is_empty() && !only.contains(['*', '>']) => only.clone(),
        _ => UNKNOWN_SUBJECT.to_owned(),
    }
}

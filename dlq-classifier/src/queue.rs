//! The dead-letter stream as the commands for people use it: letters by their headers, one at a time, beside
//! the records of what was done about them; a record written at the end. Nothing is consumed.

use std::time::Duration;

use schemas::cloudevents::{Headers, header};
use schemas::subject::{DLQ_ALERT_PREFIX, DLQ_OPERATION_PREFIX, DLQ_STREAM};
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::dead_letter;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::{self, Depth, Glance, Kept, Scan, Stretches};
use service_kit::publish::{self, Outgoing, PublishFailure, Published};

use crate::book::Book;
use crate::entry::Entry;
use crate::operation::Operation;
use crate::standing::{Standing, Told};

/// How long a command waits for a broker that does not answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long a publish of a command is repeated. Somebody is waiting at the terminal.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(10);

/// What one entry takes in the record of a replay, as a rule: ids, a subject, a message id.
const RECORD_BYTES: usize = 512;

/// The dead-letter stream.
pub(crate) struct Queue {
    pub(crate) broker: Broker,
}

/// Its letters by their headers.
pub(crate) struct Letters {
    pub(crate) source: Source,
    /// Messages without a verdict so far.
    pub(crate) strangers: u64,
}

/// Where letters come from.
pub(crate) enum Source {
    /// The stream from its beginning to the present.
    Whole(Box<Scan>),
    /// Some of its stretches.
    Stretches(Box<Stretches>),
}

impl Queue {
    pub(crate) async fn open(args: &BrokerArgs) -> Result<Self, CliError> {
        let broker = Broker::connect(&args.resolve()?, "dlq-classifier", CONNECT_PATIENCE).await?;
        Ok(Self { broker })
    }

    /// The same on a connection that stands.
    pub(crate) fn on(broker: &Broker) -> Self {
        Self { broker: broker.clone() }
    }

    /// The entries whose ids begin with one of `ids`, and what was done with them. Letters are read by their headers alone.
    pub(crate) async fn read(&self, ids: &[String]) -> Result<Book, CliError> {
        let mut book = Book::default();
        let is_meant = |entry: &Entry| ids.iter().any(|id| entry.id.starts_with(id.as_str()));
        let mut letters = self.letters().await?;
        while let Some(entry) = letters.next().await? {
            if is_meant(&entry) {
                book.letter(entry);
            }
        }
        warn_of(letters.strangers);
        self.each_operation(|operation, _| book.apply(&operation)).await?;
        Ok(book)
    }

    /// Hands every entry as it stands to `take`, oldest first. None is kept.
    pub(crate) async fn each(
        &self,
        mut take: impl FnMut(Entry) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let (standing, mut told) = (self.standing().await?, Told::default());
        let mut letters = self.letters().await?;
        while let Some(entry) = letters.next().await? {
            let digest = standing.digest(&entry.id);
            if told.is_first(digest) {
                take(standing.tell(entry, digest))?;
            }
        }
        warn_of(letters.strangers);
        Ok(())
    }

    /// What was done with the entries.
    pub(crate) async fn standing(&self) -> Result<Standing, CliError> {
        let mut standing = Standing::default();
        self.each_operation(|operation, _| standing.apply(&operation)).await?;
        Ok(standing)
    }

    /// Hands the record of every operation to `take`, oldest first, with its sequence.
    pub(crate) async fn each_operation(&self, mut take: impl FnMut(Operation, u64)) -> Result<(), CliError> {
        let filters = [format!("{DLQ_OPERATION_PREFIX}>")];
        let mut scan = self.scan(&filters, Depth::Whole).await?;
        while let Some(record) = next(&mut scan).await? {
            if let Some(operation) = Operation::read(record.subject(), record.payload()) {
                take(operation, record.sequence);
            }
        }
        Ok(())
    }

    /// Every letter, as its headers tell it.
    pub(crate) async fn letters(&self) -> Result<Letters, CliError> {
        Ok(Letters::of(Source::Whole(Box::new(self.scan(&[], Depth::Headers).await?))))
    }

    async fn scan(&self, filters: &[String], depth: Depth) -> Result<Scan, CliError> {
        Scan::open(&self.broker, DLQ_STREAM, filters, (1, u64::MAX), depth).await
    }

    /// Last sequence of a stream.
    pub(crate) async fn last_sequence(&self, stream: &str) -> Result<u64, CliError> {
        let found = self.broker.jetstream.get_stream(stream).await;
        found.map(|found| found.cached_info().state.last_sequence).map_err(|error| {
            let what = format!("the stream {stream} cannot be looked at");
            CliError::new("stream-unreadable", Exit::Unreachable, what)
                .because(error)
                .help("is the broker up, and were the streams created? `cerebros doctor` tells")
        })
    }

    /// The dead letter of an entry, with its payload.
    pub(crate) async fn letter(&self, entry: &Entry) -> Result<Kept, CliError> {
        history::at(&self.broker, DLQ_STREAM, entry.kept_at).await?.ok_or_else(|| {
            CliError::new(
                "entry-gone",
                Exit::NotFound,
                format!("the dead letter {} is no longer kept", entry.id),
            )
            .because("the stream has dropped it by age or size since it was listed")
        })
    }

    /// Publishes a message and waits for the confirmation.
    pub(crate) async fn publish(&self, message: &Outgoing) -> Result<Published, PublishFailure> {
        publish::send(&self.broker, message, PUBLISH_PATIENCE).await
    }

    /// Makes sure that the record of a replay of so many entries has room, before they are published.
    pub(crate) async fn check_room(&self, entries: usize, edit: usize) -> Result<(), CliError> {
        let subject = format!("{DLQ_OPERATION_PREFIX}replayed");
        let bytes = entries * RECORD_BYTES + edit;
        let room = dead_letter::for_record(&self.broker, &subject, bytes).await;
        room.map_err(|error| {
            unpublished(&error, "nothing is replayed that could not be put on record".to_owned())
        })
    }

    /// Writes the record of an operation and waits for the confirmation.
    pub(crate) async fn record(&self, operation: &Operation) -> Result<Published, CliError> {
        let mut headers = Headers::default();
        headers.push(header::MESSAGE_ID, operation.message_id());
        headers.push(header::CONTENT_TYPE, "application/json");
        let message = Outgoing {
            subject: operation.subject(),
            headers: publish::to_header_map(&headers),
            payload: serde_json::to_vec(operation).expect("a record is plain data").into(),
        };
        self.publish(&message).await.map_err(|error| {
            let ids = operation.ids.join(", ");
            let what = format!("what was done is not on record: {} {ids}", operation.operation.as_str());
            unpublished(&error, what.trim_end().to_owned())
        })
    }
}

impl Letters {
    pub(crate) fn of(source: Source) -> Self {
        Self { source, strangers: 0 }
    }

    /// Goes on with another stretch, where that is what it reads.
    pub(crate) fn turn_to(&mut self, stretch: (u64, u64)) {
        if let Source::Stretches(stretches) = &mut self.source {
            stretches.turn_to(stretch);
        }
    }

    /// The next one; `None` after the last of its source.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, CliError> {
        while let Some(letter) = self.source.next().await? {
            let subject = letter.subject();
            if subject.starts_with(DLQ_OPERATION_PREFIX) || subject.starts_with(DLQ_ALERT_PREFIX) {
                continue;
            }
            let entry = Entry::glance(&letter);
            if entry.is_some() {
                return Ok(entry);
            }
            self.strangers += 1;
        }
        Ok(None)
    }
}

impl Source {
    async fn next(&mut self) -> Result<Option<Glance>, CliError> {
        match self {
            Self::Whole(scan) => next(scan).await,
            Self::Stretches(stretches) => heard(stretches.next().await),
        }
    }
}

/// Says what was met that is no letter.
pub(crate) fn warn_of(strangers: u64) {
    if strangers > 0 {
        tracing::warn!(count = strangers, "the dead-letter stream holds messages without a verdict");
    }
}

async fn next(scan: &mut Scan) -> Result<Option<Glance>, CliError> {
    heard(scan.next().await)
}

fn heard(next: Result<Option<Glance>, CliError>) -> Result<Option<Glance>, CliError> {
    next.map_err(|error| if error.code == "stream-silent" { stalled() } else { error })
}

fn stalled() -> CliError {
    let what = format!("the dead-letter stream stopped coming for {} s", history::SILENCE_LIMIT.as_secs());
    CliError::new("queue-stalled", Exit::Unreachable, what)
        .because("the broker does not answer, or somebody has published a message there whose headers break the protocol")
        .help("`cerebros doctor` tells whether the broker answers; permissions should let only programs of this product publish on cerebros.dlq.>")
}

/// A publish that failed, as the end of a command.
pub(crate) fn unpublished(error: &PublishFailure, what: String) -> CliError {
    let exit = match error {
        PublishFailure::Unconfirmed { .. } => Exit::Unreachable,
        PublishFailure::Full { .. } => {
            return CliError::new("stream-full", Exit::Full, what).because(error).help(
                "make room, then run the command again: what is on record is not repeated; a replay that had begun goes on \
                 by itself, `dlq-classifier tasks` shows it",
            );
        }
        PublishFailure::Refused { .. } | PublishFailure::Encode(_) => Exit::Permission,
    };
    CliError::new("publish-failed", exit, what).because(error).help(
        "run the command again: the broker drops what it already has, and what is on record is not repeated",
    )
}

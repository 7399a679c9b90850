//! Where the state of the limit is kept, and who changes it.

use futures_util::StreamExt as _;
use schemas::subject::{FENCE_PREFIX, STREAM};
use service_kit::broker::Broker;
use service_kit::health::ComponentHandle;
use service_kit::topology::DLQ_BUCKET;
use service_kit::{clock, history};

use super::notice::{Notice, tell, told};
use super::{LEAST_SAMPLE, NOTE, SAMPLE, Standing, Why, is_in_order};
use crate::fault;
use crate::serve::Measures;
use crate::serve::notes::{Note, Notes};
use crate::serve::semantics::Message;
use crate::serve::world::{Sample, World};

/// Messages of a sample that are read at once; each may have half a megabyte.
const READ_AT_ONCE: usize = 8;

/// Keeps the state.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Guard {
    pub(in crate::serve) broker: Broker,
    pub(in crate::serve) health: ComponentHandle,
    pub(in crate::serve) measures: Measures,
}

/// What a look at the stream shows.
enum Look {
    InOrder,
    /// Too few of those that were looked at.
    NotYet {
        sound: usize,
        of: usize,
    },
}

impl Guard {
    /// Whether letters may be written: up to which sequence without being counted, or not at all. Says so on the health
    /// page, and looks whether things are in order again.
    pub(in crate::serve) async fn way(&self) -> Result<Option<u64>, String> {
        let notes = Notes::open(&self.broker, DLQ_BUCKET).await?;
        let note = notes.read::<Standing>(NOTE).await?;
        let way = match &note.said {
            None => Some(0),
            Some(Standing::Open { through, .. }) => Some(*through),
            Some(stopped @ Standing::Stopped { reason, sequence, last, .. }) => {
                self.say(Some(reason));
                // Whoever told that it goes on had decided so, and was killed before the note said it.
                let is_decided = self.is_told_of(stopped, note.revision.unwrap_or_default()).await;
                let look = if is_decided { Look::InOrder } else { self.look(*sequence, *last).await? };
                match look {
                    Look::InOrder => self.resume(&notes, &note, stopped).await?,
                    Look::NotYet { sound, of } => {
                        let looked = format!("{sound} of the last {of} messages it looked at are in order");
                        self.say(Some(&format!("{reason}; {looked}")));
                        None
                    }
                }
            }
        };
        if way.is_some() {
            self.say(None);
        }
        Ok(way)
    }

    /// Whether somebody has stopped all classifiers.
    pub(in crate::serve) async fn is_stopped(&self) -> Result<bool, String> {
        let note = Notes::open(&self.broker, DLQ_BUCKET).await?.read::<Standing>(NOTE).await?;
        Ok(matches!(note.said, Some(Standing::Stopped { .. })))
    }

    /// Stops all classifiers, unless they have stopped or gone on since the message that was one too many.
    pub(in crate::serve) async fn stop(&self, why: &Why, sequence: u64) -> Result<(), String> {
        tracing::error!(sequence, why.reason, "the storm limit is passed: no more dead letters");
        let last = last_sequence(&self.broker).await?;
        self.say(Some(&why.reason));
        let notes = Notes::open(&self.broker, DLQ_BUCKET).await?;
        let note = notes.read::<Standing>(NOTE).await?;
        if note.said.as_ref().is_some_and(|said| said.knows_of(sequence)) {
            return Ok(());
        }
        let (reason, value, threshold) = (why.reason.clone(), why.value, why.threshold);
        let stopped = Standing::Stopped { reason, value, threshold, sequence, last, at: clock::now() };
        // Whoever reads it sends the alert, so that one that was killed here has not kept it to itself.
        notes.write(NOTE, &note, &stopped).await.map(drop)
    }

    /// Tells that the limit was passed, if nobody has; true if it was told that letters are written again.
    async fn is_told_of(&self, stopped: &Standing, revision: u64) -> bool {
        let last = match told(&self.broker, revision).await {
            Ok(None) => tell(&self.broker, Notice::Crossed, stopped, revision).await.map(|()| None),
            told => told,
        };
        // It is tried again at the next look, and said on the health page meanwhile.
        last.inspect_err(|error| tracing::warn!(error, "the alert could not be published"))
            .is_ok_and(|last| last == Some(Notice::Cleared))
    }

    /// Resumes by itself.
    async fn resume(
        &self,
        notes: &Notes,
        note: &Note<Standing>,
        was: &Standing,
    ) -> Result<Option<u64>, String> {
        let through = last_sequence(&self.broker).await?;
        let open = Standing::Open { through, at: clock::now() };
        tell(&self.broker, Notice::Cleared, was, note.revision.unwrap_or_default()).await?;
        fault::at("storm-cleared");
        if notes.write(NOTE, note, &open).await?.is_none() {
            return Ok(None);
        }
        tracing::warn!(through, "what comes is in order again: dead letters are written again");
        Ok(Some(through))
    }

    /// What came since the limit was passed is in order, or what passed it is, by now: a schema was put in, or this build
    /// reads what the one before could not.
    async fn look(&self, sequence: u64, last: u64) -> Result<Look, String> {
        let newest = last_sequence(&self.broker).await?;
        let since = self.sample((last + 1).max(newest.saturating_sub(SAMPLE - 1)), newest).await?;
        if is_in_order(&since) {
            return Ok(Look::InOrder);
        }
        let before = self.sample(sequence.saturating_sub(SAMPLE - 1).max(1), sequence).await?;
        if is_in_order(&before) {
            return Ok(Look::InOrder);
        }
        let told = if since.len() >= LEAST_SAMPLE { since } else { before };
        Ok(Look::NotYet { sound: told.iter().filter(|is_sound| **is_sound).count(), of: told.len() })
    }

    /// For each event in a range, whether it is in order.
    async fn sample(&self, from: u64, to: u64) -> Result<Vec<bool>, String> {
        let mut messages = futures_util::stream::iter(from..=to)
            .map(|sequence| history::at(&self.broker, STREAM, sequence))
            .buffered(READ_AT_ONCE);
        let world = World::open(&self.broker).await?;
        let (mut known, mut sample) = (Sample::default(), Vec::new());
        while let Some(kept) = messages.next().await {
            let kept = kept.map_err(|error| error.what)?;
            let Some(kept) = kept.filter(|kept| !kept.subject.starts_with(FENCE_PREFIX)) else { continue };
            let Ok(decoded) = kept.decode() else {
                sample.push(false);
                continue;
            };
            let event = &decoded.event;
            let run = event.run_id().cloned().unwrap_or_else(|| kept.derived_run_id(STREAM));
            let message = Message::of(kept.sequence, &kept.headers);
            sample.push(world.could_be(event, &run, message, &mut known).await?);
        }
        Ok(sample)
    }

    fn say(&self, stopped: Option<&str>) {
        self.measures.stopped(stopped.is_some());
        match stopped {
            None => self.health.ready(),
            Some(reason) => self.health.not_ready(format_args!(
                "stopped at the storm limit, nothing is lost: {reason}; `dlq-classifier resume` goes on"
            )),
        }
    }
}

pub(crate) async fn last_sequence(broker: &Broker) -> Result<u64, String> {
    let stream = broker.jetstream.get_stream(STREAM).await.map_err(|error| error.to_string())?;
    Ok(stream.cached_info().state.last_sequence)
}

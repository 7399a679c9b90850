//! What is known of the runs, for [`semantics`]: the registry, what was announced, how runs ended.
//!
//! An event of a run that is known, of an attempt that is, costs one look-up in memory. Everything else is asked of the
//! broker before it is held against anybody: memory says what was, not what is not.

mod displaced;
mod lookout;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use schemas::cloudevents::Headers;
use schemas::{Event, Failure, RunId, Timestamp};
use service_kit::broker::Broker;
use service_kit::registry::Registry;
use service_kit::topology::DLQ_RUNS_BUCKET;

use super::notes::{Note, Notes};
use super::semantics::{self, Finding, Known, Message, RunNote};
pub(super) use displaced::Displaced;
use lookout::Lookout;
pub(super) use lookout::Word;

/// Runs kept in memory, twice.
const GENERATION: usize = 4096;
/// How long a run that nobody knew is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// How long a run whose attempts nobody counts is taken to be such a one: the registry may hear of it.
const FREE_FOR: Duration = Duration::from_secs(1);
/// Pause before an event comes again whose run has just become known.
const KNOWN_NOW: Duration = Duration::from_millis(50);
/// Races for a note lost in a row before the message is left for later.
const MAX_RACES: usize = 8;

/// What is known of the runs.
pub(super) struct World {
    broker: Broker,
    registry: Registry,
    notes: Notes,
    /// The runs met last and those before them.
    met: [HashMap<RunId, Attempts>; 2],
    unknown: HashMap<RunId, Instant>,
    lookout: Lookout,
}

/// What is known of the runs of a sample, read once.
#[derive(Debug, Default)]
pub(super) struct Sample(HashMap<RunId, Known>);

/// The attempts of a run that is known.
#[derive(Debug, Clone, Copy)]
enum Attempts {
    /// So many were handed out.
    Counted(u32),
    /// Nobody had counted them at that time.
    Free(Instant),
}

/// What became of an event.
#[derive(Debug, Clone)]
pub(super) enum Judged {
    /// It can be.
    Sound,
    /// Nobody knows its run, so far.
    UnknownRun,
    /// It cannot.
    Fault(Failure),
    /// It can be, but not beside what was judged before it.
    Displaces(Box<Displaced>),
}

impl World {
    pub(super) async fn open(broker: &Broker) -> Result<Self, String> {
        let registry = Registry::open(broker).await.map_err(|error| error.what)?;
        let notes = Notes::open(broker, DLQ_RUNS_BUCKET).await?;
        Ok(Self {
            broker: broker.clone(),
            registry,
            notes,
            met: Default::default(),
            unknown: HashMap::new(),
            lookout: Lookout::new(broker),
        })
    }

    /// True when nothing about the event has to be looked up: nearly always.
    pub(super) fn takes(&mut self, event: &Event) -> bool {
        match event {
            Event::TrialReported(_) | Event::MetricReported(_) | Event::RunException(_) => {}
            Event::RunCancelRequested(_) | Event::MlRunFinalized(_) => return true,
            Event::RunRequested(_)
            | Event::RunStarted(_)
            | Event::RunCompleted(_)
            | Event::RunFailed(_)
            | Event::RunCancelled(_)
            | Event::RunInterrupted(_)
            | Event::MlRunStarted(_) => return false,
        }
        event.run_id().is_some_and(|run| self.takes_report(run.as_str(), event.attempt()))
    }

    /// The same for a trial or a value of this run and attempt.
    pub(super) fn takes_report(&mut self, run: &str, attempt: Option<u32>) -> bool {
        match (self.attempts(run), attempt) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(Attempts::Counted(attempts)), Some(attempt)) => attempt <= attempts,
            (Some(Attempts::Free(since)), Some(_)) => since.elapsed() < FREE_FOR,
        }
    }

    /// Judges an event, with what the broker knows.
    ///
    /// # Errors
    /// The broker does not say; nothing is known then.
    pub(super) async fn judge(
        &mut self,
        event: &Event,
        run: &RunId,
        sequence: u64,
        headers: &Headers,
    ) -> Result<Judged, String> {
        let now = Instant::now();
        let is_report = matches!(event, Event::TrialReported(_) | Event::MetricReported(_));
        if is_report && self.unknown.get(run).is_some_and(|asked| now < *asked + UNKNOWN_FOR) {
            return Ok(Judged::UnknownRun);
        }
        let message = Message::of(sequence, headers);
        let key = run.as_str();
        for _ in 0..MAX_RACES {
            let (known, note) = self.known(run).await?;
            match semantics::judge(event, run, message, &known) {
                Finding::Fault(failure) => return Ok(Judged::Fault(failure)),
                Finding::UnknownRun => {
                    self.remember_unknown(run, now);
                    return Ok(Judged::UnknownRun);
                }
                Finding::Sound(None) => {
                    self.meet(run, known.attempts());
                    return Ok(Judged::Sound);
                }
                Finding::Displaces { sequence, failure, note: next } => {
                    return Ok(Judged::Displaces(Box::new(Displaced { sequence, failure, was: note, next })));
                }
                // Noted before the event is settled: a classifier that is killed notes it again.
                Finding::Sound(Some(next)) => {
                    if self.notes.write(key, &note, &next).await?.is_some() {
                        self.unknown.remove(run);
                        self.meet(run, Known { note: Some(next), ..known }.attempts());
                        return Ok(Judged::Sound);
                    }
                }
            }
        }
        Err(format!("the note about run {run} is changed by others all the time"))
    }

    /// Whether a run nobody knew may be announced all the same, by what the stream took in until `until`: the
    /// announcement may be in another classifier's hand, or come again from one that was killed.
    ///
    /// # Errors
    /// The broker does not say.
    pub(super) async fn word_of(&mut self, run: &RunId, until: Timestamp) -> Result<Word, String> {
        // In this order: what is settled after the floor was read is found in the note.
        let floor = match self.lookout.floor().await? {
            Ok(floor) => floor,
            Err(wait) => return Ok(Word::Later(wait)),
        };
        if self.knows(run).await? {
            self.unknown.remove(run);
            return Ok(Word::Later(KNOWN_NOW));
        }
        self.lookout.word(run, floor, until).await
    }

    fn attempts(&mut self, run: &str) -> Option<Attempts> {
        if let Some(attempts) = self.met[0].get(run) {
            return Some(*attempts);
        }
        let (run, attempts) = self.met[1].remove_entry(run)?;
        self.keep(&run, attempts);
        Some(attempts)
    }

    fn meet(&mut self, run: &RunId, attempts: Option<u32>) {
        self.keep(run, attempts.map_or_else(|| Attempts::Free(Instant::now()), Attempts::Counted));
    }

    fn keep(&mut self, run: &RunId, attempts: Attempts) {
        if self.met[0].len() >= GENERATION {
            self.met[1] = std::mem::take(&mut self.met[0]);
        }
        self.met[0].insert(run.clone(), attempts);
    }

    /// Whether nothing is wrong with an event of a sample, beside what is known of its run and what the sample has said of
    /// it before; nothing is noted but in the sample.
    pub(super) async fn could_be(
        &self,
        event: &Event,
        run: &RunId,
        message: Message<'_>,
        sample: &mut Sample,
    ) -> Result<bool, String> {
        let known = match sample.0.get(run) {
            Some(known) => known.clone(),
            None => self.known(run).await?.0,
        };
        let (is_sound, next) = match semantics::judge(event, run, message, &known) {
            Finding::Sound(next) => (true, next),
            Finding::Displaces { note, .. } => (true, Some(note)),
            Finding::UnknownRun | Finding::Fault(_) => (false, None),
        };
        let note = next.or_else(|| known.note.clone());
        sample.0.insert(run.clone(), Known { note, ..known });
        Ok(is_sound)
    }

    /// What is known of a run, and its note as it was read.
    async fn known(&self, run: &RunId) -> Result<(Known, Note<RunNote>), String> {
        let held = self.registry.get(run).await.map_err(|error| error.to_string())?;
        let note: Note<RunNote> = self.notes.read(run.as_str()).await?;
        Ok((Known { registered: held.map(|held| held.record.attempt), note: note.said.clone() }, note))
    }

    async fn knows(&mut self, run: &RunId) -> Result<bool, String> {
        if self.attempts(run.as_str()).is_some()
            || self.registry.get(run).await.map_err(|error| error.to_string())?.is_some()
        {
            return Ok(true);
        }
        Ok(self.notes.read::<RunNote>(run.as_str()).await?.said.is_some())
    }

    fn remember_unknown(&mut self, run: &RunId, now: Instant) {
        if self.unknown.len() >= GENERATION {
            self.unknown.clear();
        }
        self.unknown.insert(run.clone(), now);
    }
}

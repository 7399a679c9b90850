//! What the broker knows about the runs of the messages a replay looks at: the registry, and the trials that are on the
//! stream. Nothing is written.
//!
//! The stream is read once for all entries, after it is known which trials are asked for. What an entry brings about is known
//! to those behind it, as it will be when they are replayed.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use schemas::subject::STREAM;
use schemas::{Event, Record, RunId};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::History;
use service_kit::registry::{Registry, RunRecord};

use super::effect::{deed, may_be_unsafe};
use super::prepare::Prepared;
use super::{Effect, Outcome, ReplayResult, World, effect};
use crate::edit::Draft;
use crate::entry::Entry;

/// Records of runs that are held at once.
const MAX_RECORDS: usize = 1000;

/// What is known, and what has been said so far.
pub(super) struct Outlook {
    broker: Broker,
    registry: Option<Registry>,
    records: HashMap<RunId, Option<RunRecord>>,
    /// What the entries before would bring about, as hashes.
    deeds: HashSet<u64>,
    /// Trials the stream may have, and of each the message that is the dead one itself.
    asked: HashMap<u64, u64>,
    /// Those it has.
    found: HashSet<u64>,
    /// Where the trials of those runs can begin.
    from: Option<u64>,
}

impl Outlook {
    pub(super) fn new(broker: &Broker) -> Self {
        Self {
            broker: broker.clone(),
            registry: None,
            records: HashMap::new(),
            deeds: HashSet::new(),
            asked: HashMap::new(),
            found: HashSet::new(),
            from: None,
        }
    }

    /// Why a message should not be published before a person has thought about it.
    pub(super) async fn objection(&mut self, prepared: &Prepared) -> Result<Option<String>, CliError> {
        let Some(event) = event(&prepared.draft).filter(|event| may_be_unsafe(event, prepared.class)) else {
            return Ok(None);
        };
        // The world moves on while a replay is under way.
        self.records.clear();
        let record = self.record(event.run_id()).await?;
        Ok(match effect(&event, prepared.class, World { record, is_trial_known: false }, clock::now()) {
            Effect::Unsafe(why) => Some(why),
            Effect::New(_) | Effect::None(_) => None,
        })
    }

    /// What publishing a message would bring about. What is unsafe brings about nothing where `takes_all` is false, for
    /// then it is left out.
    pub(super) async fn predict(
        &mut self,
        entry: &Entry,
        prepared: &Prepared,
        takes_all: bool,
    ) -> Result<ReplayResult, CliError> {
        let result = ReplayResult::new(entry, Outcome::WouldReplay, None);
        let said = |name: &'static str, reason: String| ReplayResult {
            effect: Some(name),
            reason: Some(reason),
            ..result.clone()
        };
        let Some(event) = event(&prepared.draft) else {
            return Ok(said("new", "goes to a subject that is not ours".to_owned()));
        };
        let deed = deed(&event).map(|deed| hash(&deed));
        let is_trial_known = deed.is_some_and(|deed| self.found.contains(&deed));
        let record = self.record(event.run_id()).await?;
        let world = World { record, is_trial_known };
        let (name, reason) = match effect(&event, prepared.class, world, clock::now()) {
            Effect::None(reason) => return Ok(said("none", reason)),
            Effect::Unsafe(reason) if !takes_all => return Ok(said("unsafe", reason)),
            Effect::Unsafe(reason) => ("unsafe", reason),
            Effect::New(reason) => ("new", reason),
        };
        if deed.is_some_and(|deed| !self.deeds.insert(deed)) {
            return Ok(said("none", "an entry before it says the same".to_owned()));
        }
        Ok(said(name, reason))
    }

    /// Asks whether the stream has the trial of a message, if it is one.
    pub(super) async fn ask(&mut self, entry: &Entry, prepared: &Prepared) -> Result<(), CliError> {
        let Some(event @ Event::TrialReported(_)) = event(&prepared.draft) else { return Ok(()) };
        let Some(deed) = deed(&event) else { return Ok(()) };
        let first = self.record(event.run_id()).await?.map_or(1, |record| record.first_sequence);
        self.from = Some(self.from.map_or(first, |from| from.min(first)));
        self.asked.entry(hash(&deed)).or_insert(entry.seq);
        Ok(())
    }

    /// Reads the trials of the stream once, for all that was asked.
    pub(super) async fn look_up(&mut self) -> Result<(), CliError> {
        let Some(from) = self.from else { return Ok(()) };
        let subject = Record::TrialReported.subject();
        let mut history = History::to_the_present(&self.broker, STREAM, &[subject], from).await?;
        while !self.asked.is_empty()
            && let Some(kept) = history.next().await?
        {
            let Some(event) = kept.decode().ok().map(|decoded| decoded.event) else { continue };
            let Some(deed) = deed(&event).map(|deed| hash(&deed)) else { continue };
            // The dead message itself is no proof that readers have it.
            if self.asked.get(&deed).is_some_and(|dead| *dead != kept.sequence) {
                self.asked.remove(&deed);
                self.found.insert(deed);
            }
        }
        self.asked = HashMap::new();
        Ok(())
    }

    async fn record(&mut self, run: Option<&RunId>) -> Result<Option<&RunRecord>, CliError> {
        let Some(run) = run else { return Ok(None) };
        if !self.records.contains_key(run) {
            if self.records.len() >= MAX_RECORDS {
                self.records.clear();
            }
            let registry = match &self.registry {
                Some(registry) => registry,
                None => self.registry.insert(Registry::open(&self.broker).await?),
            };
            let held = registry.get(run).await.map_err(|error| {
                CliError::new("registry-unreadable", Exit::Unreachable, "the run registry cannot be read")
                    .because(error)
            })?;
            self.records.insert(run.clone(), held.map(|held| held.record));
        }
        Ok(self.records[run].as_ref())
    }
}

fn event(draft: &Draft) -> Option<Event> {
    draft.decode().ok().map(|decoded| decoded.event)
}

fn hash(deed: &(&'static str, RunId, String)) -> u64 {
    let mut hasher = DefaultHasher::new();
    deed.hash(&mut hasher);
    hasher.finish()
}

//! What the broker knows about the runs of the messages a replay looks at: the registry, and the trials that are on the
//! stream. Nothing is written.
//!
//! The stream is read once for all entries, at the end: what only it can tell is left open until then. What an entry
//! before it brings about is known to those behind it, as it will be when they are replayed.

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
    /// Trials that are news unless the stream has them: which row says so, and which message is the dead one itself.
    open: HashMap<u64, (usize, u64)>,
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
            open: HashMap::new(),
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

    /// What publishing a message would bring about; `row` is the number its row will have. What is unsafe brings about
    /// nothing where `takes_all` is false, for then it is left out.
    pub(super) async fn predict(
        &mut self,
        entry: &Entry,
        prepared: &Prepared,
        row: usize,
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
        let record = self.record(event.run_id()).await?;
        let first = record.map_or(1, |record| record.first_sequence);
        let world = World { record, is_trial_known: false };
        let (name, reason) = match effect(&event, prepared.class, world, clock::now()) {
            Effect::None(reason) => return Ok(said("none", reason)),
            Effect::Unsafe(reason) if !takes_all => return Ok(said("unsafe", reason)),
            Effect::Unsafe(reason) => ("unsafe", reason),
            Effect::New(reason) => ("new", reason),
        };
        if let Some(deed) = deed(&event) {
            let deed = hash(&deed);
            if !self.deeds.insert(deed) {
                return Ok(said("none", "an entry before it says the same".to_owned()));
            }
            if matches!(event, Event::TrialReported(_)) {
                self.open.insert(deed, (row, entry.seq));
                self.from = Some(self.from.map_or(first, |from| from.min(first)));
            }
        }
        Ok(said(name, reason))
    }

    /// Reads the trials of the stream once, and puts the rows right of those it has.
    pub(super) async fn close(mut self, rows: &mut [ReplayResult]) -> Result<(), CliError> {
        let Some(from) = self.from else { return Ok(()) };
        let subject = Record::TrialReported.subject();
        let mut history = History::to_the_present(&self.broker, STREAM, &[subject], from).await?;
        while let Some(kept) = history.next().await? {
            let Some(event) = kept.decode().ok().map(|decoded| decoded.event) else { continue };
            let Event::TrialReported(trial) = &event else { continue };
            let Some(deed) = deed(&event).map(|deed| hash(&deed)) else { continue };
            // The dead message itself is no proof that readers have it.
            if let Some((row, _)) = self.open.get(&deed).filter(|(_, dead)| *dead != kept.sequence) {
                rows[*row].effect = Some("none");
                rows[*row].reason = Some(format!("the trial {} is on the stream already", trial.trial_id));
                self.open.remove(&deed);
            }
            if self.open.is_empty() {
                break;
            }
        }
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

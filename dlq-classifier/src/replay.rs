//! `replay`: publishes dead messages again, repaired or as they were.
//!
//! The order of effects is publish, confirm, then record. A command that is killed between the last two leaves a
//! message on the stream and an entry that still looks open; replaying it again publishes the same message id, which
//! the broker drops while its duplicate window lasts, and after that the gates of live traffic (the run registry, the
//! ids of trials) stand. A replay is at least once, like every publication of ours.

mod deliver;
mod draft;
mod effect;
mod outlook;
mod pace;
mod result;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use schemas::Timestamp;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::shutdown::Shutdown;
use service_kit::{clock, output};

pub use draft::{Refusal, check, draft};
pub use effect::{Effect, World, effect};
pub use pace::Rate;
pub use result::{Outcome, ReplayResult};

use crate::cli::ReplayArgs;
use crate::edit::{Draft, Edit, EditError, jq::JqError};
use crate::entry::{Entry, State};
use crate::operation::{Act, Operation, Replay};
use crate::queue::Queue;
use crate::selection::actor;
use deliver::{Delivered, deliver};
use outlook::Outlook;
use pace::Pace;

/// A record is written after so many replays, or after [`RECORD_EVERY`]: what a killed command has not recorded.
const RECORD_SIZE: usize = 100;
/// Entries whose payloads a dry run holds at once: at the largest size, 100 MB.
const PREDICTED_AT_ONCE: usize = 200;
/// A record is written at least this often.
const RECORD_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: ReplayArgs, shutdown: Shutdown) -> Result<Exit, CliError> {
    args.selection.check("replay")?;
    draft::check_target(args.to.as_deref())?;
    let edit = Edit::from_flags(args.edit.clone(), args.patch.clone())?;
    let queue = Queue::open(&args.common.broker).await?;
    let book = queue.read().await?;
    let chosen = args.selection.resolve(&book, clock::now())?;
    let act = Act { actor: actor(), reason: args.reason.clone(), filter: args.selection.describe() };
    let mut session = Session {
        queue: &queue,
        edit: edit.as_ref(),
        to: args.to.as_deref(),
        is_bulk: args.selection.is_bulk(),
        act,
        unrecorded: Vec::new(),
        recorded_at: Instant::now(),
    };
    let results = if args.dry_run {
        session.predict(&chosen).await?
    } else {
        let _hold = shutdown.hold("the record of the replays");
        session.replay(&chosen, args.rate, &shutdown).await?
    };
    let printer = args.common.output.printer();
    printer.rows(&results)?;
    conclude(&results, args.selection.is_bulk() || chosen.len() > 1, args.dry_run)
}

/// The last word: counts for people, and an error when the one entry that was named could not be replayed. A dry run
/// has done what it was asked for, whatever it found.
fn conclude(results: &[ReplayResult], is_several: bool, is_dry_run: bool) -> Result<Exit, CliError> {
    if is_several || is_dry_run {
        output::note(result::summary(results));
        return Ok(Exit::Done);
    }
    let Some(only) = results.first() else { return Ok(Exit::Done) };
    let reason = only.reason.clone().unwrap_or_default();
    match only.outcome {
        Outcome::Invalid => {
            Err(CliError::new("replay-invalid", Exit::InvalidInput, format!("{} was not published", only.id))
                .because(reason)
                .help("repair it with --edit or --patch; `dlq-classifier show` prints what it holds"))
        }
        Outcome::Skipped => Err(CliError::new(
            "replay-refused",
            Exit::InvalidInput,
            format!("{} was not published", only.id),
        )
        .because(reason)
        .help("if its message died again, that is an entry of its own: `dlq-classifier list --state open`")),
        Outcome::Replayed | Outcome::WouldReplay | Outcome::Discarded | Outcome::WouldDiscard => {
            Ok(Exit::Done)
        }
    }
}

struct Session<'a> {
    queue: &'a Queue,
    edit: Option<&'a Edit>,
    to: Option<&'a str>,
    is_bulk: bool,
    act: Act,
    /// Confirmed by the broker, not yet on record.
    unrecorded: Vec<Replay>,
    recorded_at: Instant,
}

impl Session<'_> {
    /// What a replay would do to each entry; nothing is published. A part at a time, because payloads are held meanwhile.
    async fn predict(&self, chosen: &[&Entry]) -> Result<Vec<ReplayResult>, CliError> {
        let mut results = Vec::with_capacity(chosen.len());
        for part in chosen.chunks(PREDICTED_AT_ONCE) {
            let mut ready = Vec::new();
            for entry in part {
                match self.prepare(entry).await? {
                    Ok(prepared) => ready.push((*entry, prepared)),
                    Err(refused) => results.push(refused),
                }
            }
            let outlook = Outlook::read(&self.queue.broker, &ready).await?;
            for (entry, prepared) in &ready {
                results.push(outlook.predict(entry, prepared, clock::now()));
            }
        }
        results.sort_by_key(|result| result.kept_at);
        Ok(results)
    }

    async fn replay(
        &mut self,
        chosen: &[&Entry],
        rate: Option<Rate>,
        shutdown: &Shutdown,
    ) -> Result<Vec<ReplayResult>, CliError> {
        let progress = progress(chosen.len());
        let mut pace = Pace::new(rate);
        let mut results = Vec::with_capacity(chosen.len());
        for entry in chosen {
            if shutdown.is_draining() {
                break;
            }
            match self.replay_one(entry, &mut pace).await {
                Ok(result) => results.push(result),
                Err(error) => {
                    // What the broker confirmed is put on record whatever ended the command.
                    self.record().await?;
                    return Err(error);
                }
            }
            if self.unrecorded.len() >= RECORD_SIZE || self.recorded_at.elapsed() >= RECORD_EVERY {
                self.record().await?;
            }
            progress.inc(1);
        }
        self.record().await?;
        progress.finish_and_clear();
        if results.len() < chosen.len() {
            output::note(format_args!(
                "stopped: {} of {} entries were not looked at",
                chosen.len() - results.len(),
                chosen.len()
            ));
        }
        Ok(results)
    }

    async fn replay_one(&mut self, entry: &Entry, pace: &mut Pace) -> Result<ReplayResult, CliError> {
        let (draft, is_edited) = match self.prepare(entry).await? {
            Ok(draft) => (draft.draft, draft.is_edited),
            Err(refused) => return Ok(refused),
        };
        pace.wait().await;
        let (sequence, message_id, was_there) = match deliver(self.queue, entry, &draft).await? {
            Delivered::Refused(why) => return Ok(ReplayResult::new(entry, Outcome::Invalid, Some(&why))),
            Delivered::Otherwise { kept, message_id } => {
                self.unrecorded.push(Replay {
                    id: entry.id.clone(),
                    sequence: kept.sequence,
                    subject: kept.subject,
                    message_id,
                    edited: true,
                });
                let why = format!("it was published before with another edit, as sequence {}", kept.sequence);
                return Ok(ReplayResult::new(entry, Outcome::Skipped, Some(&why)));
            }
            Delivered::Published { sequence, message_id, was_there } => (sequence, message_id, was_there),
        };
        self.unrecorded.push(Replay {
            id: entry.id.clone(),
            sequence,
            subject: draft.subject,
            message_id,
            edited: is_edited,
        });
        let known = was_there.then_some("the broker had it already");
        Ok(ReplayResult { sequence: Some(sequence), ..ReplayResult::new(entry, Outcome::Replayed, known) })
    }

    /// What would be published for an entry, valid; or why nothing is.
    async fn prepare(&self, entry: &Entry) -> Result<Result<Prepared, ReplayResult>, CliError> {
        if let Some(reason) = refusal(entry.state, self.is_bulk) {
            return Ok(Err(ReplayResult::new(entry, Outcome::Skipped, Some(reason))));
        }
        let letter = self.queue.letter(entry).await?;
        let original = draft(entry, &letter, self.to);
        let edited = match self.edit {
            Some(edit) => edit.apply(original.clone(), &entry.subject),
            None => Ok(original.clone()),
        };
        let edited = match edited {
            Ok(edited) => edited,
            Err(EditError::Jq(JqError::TooSlow)) if self.is_bulk => {
                return Err(CliError::new("edit-too-slow", Exit::InvalidInput, JqError::TooSlow)
                    .because(format!("it was running on {}", entry.id)));
            }
            Err(error) => {
                return Ok(Err(ReplayResult::new(entry, Outcome::Invalid, Some(&error.to_string()))));
            }
        };
        if let Err(refusal) = check(&edited) {
            return Ok(Err(ReplayResult::new(entry, Outcome::Invalid, Some(&refusal.to_string()))));
        }
        let is_edited = edited.payload != original.payload;
        Ok(Ok(Prepared { draft: edited, is_edited }))
    }

    async fn record(&mut self) -> Result<(), CliError> {
        self.recorded_at = Instant::now();
        if self.unrecorded.is_empty() {
            return Ok(());
        }
        let at: Timestamp = clock::now();
        let replays = std::mem::take(&mut self.unrecorded);
        self.queue.record(&Operation::replayed(&self.act, at, replays)).await.map(drop)
    }
}

/// A message ready to be published.
pub(crate) struct Prepared {
    pub(crate) draft: Draft,
    pub(crate) is_edited: bool,
}

/// Why an entry is left alone. Whoever names an entry has looked at it; a bulk action has not.
fn refusal(state: State, is_bulk: bool) -> Option<&'static str> {
    match (state, is_bulk) {
        (State::Open, _) | (State::Discarded | State::Quarantined, false) => None,
        (State::Replayed, _) => Some("already replayed"),
        (State::Discarded, true) => Some("discarded"),
        (State::Quarantined, true) => {
            Some("quarantined: it died again after three replays; replay it by its id")
        }
    }
}

/// A bar on a terminal, nothing anywhere else.
fn progress(count: usize) -> ProgressBar {
    if count > 1 && std::io::stderr().is_terminal() {
        ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX))
    } else {
        ProgressBar::hidden()
    }
}

//! `discard`: declares entries not needed. They stay where they are, marked, until the stream drops them by age.

use schemas::Timestamp;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::{clock, output};

use crate::cli::DiscardArgs;
use crate::entry::{Entry, State};
use crate::operation::{Act, MAX_IDS, Operation};
use crate::queue::Queue;
use crate::replay::{Answer, Outcome, ReplayResult};
use crate::selection::{Named, actor};

pub(crate) async fn run(args: DiscardArgs) -> Result<Exit, CliError> {
    args.selection.check("discard")?;
    let queue = Queue::open(&args.common.broker).await?;
    let now = clock::now();
    let act = Act { actor: actor(), reason: args.reason.clone(), filter: args.selection.describe() };
    let mut answer = Answer::to(args.common.output.printer());
    let mut discarded = 0;
    let chosen = chosen(&args, &queue, now).await?;
    for part in chosen.chunks(MAX_IDS) {
        let ids: Vec<String> = part.iter().filter(|one| one.refusal.is_none()).map(Chosen::id).collect();
        discarded += ids.len();
        if !args.dry_run
            && !ids.is_empty()
            && let Err(error) = queue.record(&Operation::discarded(&act, now, ids)).await
        {
            answer.cut_off();
            return Err(error);
        }
        for one in part {
            let (outcome, reason) = match one.refusal {
                Some(why) => (Outcome::Skipped, Some(why)),
                None if args.dry_run => (Outcome::WouldDiscard, act.reason.as_deref()),
                None => (Outcome::Discarded, act.reason.as_deref()),
            };
            answer.push(ReplayResult::named(&one.named.id, one.named.kept_at, outcome, reason));
        }
    }
    answer.end()?;
    output::note(format_args!(
        "{discarded} {}",
        if args.dry_run { "would be discarded" } else { "discarded" }
    ));
    Ok(Exit::Done)
}

/// An entry that was picked or named, and why it is left alone all the same.
struct Chosen {
    named: Named,
    refusal: Option<&'static str>,
}

impl Chosen {
    fn of(entry: &Entry, is_bulk: bool) -> Self {
        let named = Named { id: entry.id.clone(), kept_at: entry.kept_at };
        Self { named, refusal: refusal(entry.state, is_bulk) }
    }

    fn id(&self) -> String {
        self.named.id.clone()
    }
}

/// What is meant, oldest first.
async fn chosen(args: &DiscardArgs, queue: &Queue, now: Timestamp) -> Result<Vec<Chosen>, CliError> {
    if !args.selection.is_bulk() {
        let named = args.selection.named(queue).await?;
        return Ok(named.iter().map(|entry| Chosen::of(entry, false)).collect());
    }
    let mut chosen = Vec::new();
    let take = |entry: Entry| {
        if args.selection.filter.takes(&entry, now) {
            chosen.push(Chosen::of(&entry, true));
        }
        Ok(())
    };
    queue.each(take).await?;
    Ok(chosen)
}

/// Why an entry is left alone.
fn refusal(state: State, is_bulk: bool) -> Option<&'static str> {
    match state {
        State::Open => None,
        State::Discarded => Some("already discarded"),
        State::Replayed => Some("already replayed"),
        State::Quarantined if is_bulk => Some("quarantined: discard it by its id"),
        State::Quarantined => None,
    }
}

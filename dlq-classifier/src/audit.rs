//! `audit`: accounts for every sequence of the event stream, and names what cannot be explained.
//!
//! It goes by what others have written down: the broker's own account of the consumers ([`facts`]), letters and records of
//! the dead-letter queue, the broker's advisories, the classifier's book of what was settled before it left
//! ([`crate::handled`]), the registry of runs. [`ledger`] adds it up and is pure; [`reading`] asks. Messages are read only
//! where a consumer has some in hand, and never their payloads but for requests; of the rest it is enough to know how
//! many there are.
//!
//! The stream may move meanwhile. Consumers are therefore asked before letters are read, so that a message counts in its
//! older, less finished state, and what is unexplained is looked at a second time before it is named.

mod acknowledged;
mod effects;
mod facts;
mod gone;
mod ledger;
mod left;
mod letters;
pub(crate) mod ranges;
mod reading;
mod report;
mod unexplained;

use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;

use crate::cli::Common;
use crate::operation::Answered;
use crate::queue::Queue;
use gone::Gone;
use left::left;
use ranges::Range;
use report::Account;
use unexplained::Unexplained;

pub(crate) use left::Left;

/// Time in which what is under way moves on, before a finding is looked at again.
const SECOND_LOOK: Duration = Duration::from_millis(500);

pub(crate) async fn run(common: &Common) -> Result<Exit, CliError> {
    let queue = Queue::open(&common.broker).await?;
    let mut account = look(&queue).await?;
    if !account.unexplained.is_empty() {
        tokio::time::sleep(SECOND_LOOK).await;
        account = look(&queue).await?.confirming(&account);
    }
    common.output.printer().object(&account, |out| account.write(out))?;
    if !account.unexplained.is_empty() {
        output::note(
            "what is gone, and you know why, can be answered for: `dlq-classifier acknowledge SEQUENCES --reason TEXT`",
        );
    }
    Ok(if account.unexplained.is_empty() { Exit::Done } else { Exit::Findings })
}

/// What of some sequences a person can answer for.
#[derive(Debug)]
pub(crate) struct Answerable {
    /// Last sequence of the stream.
    pub(crate) last: u64,
    pub(crate) answered: Answered,
    pub(crate) left: Vec<Left>,
}

/// Finds what of some sequences can be answered for, for one consumer or for all. Nothing is read but what is written down
/// about messages.
pub(crate) async fn answerable(
    queue: &Queue,
    wanted: &[Range],
    consumer: Option<&str>,
) -> Result<Answerable, CliError> {
    let mut facts = reading::facts(queue).await?;
    let mut gone = Gone::of(&facts);
    let mut unexplained = Unexplained::of(&facts, &gone);
    if !unexplained.within(wanted, consumer).is_empty() {
        tokio::time::sleep(SECOND_LOOK).await;
        facts = reading::facts(queue).await?;
        gone = Gone::of(&facts);
        unexplained = Unexplained::of(&facts, &gone).confirming(&unexplained);
    }
    let answered = unexplained.within(wanted, consumer);
    let left = left(&facts, &gone, &unexplained, wanted, &answered);
    Ok(Answerable { last: facts.last, answered, left })
}

async fn look(queue: &Queue) -> Result<Account, CliError> {
    let broker: &Broker = &queue.broker;
    let mut ledger = reading::facts(queue).await.map(ledger::Ledger::new)?;
    for segment in ledger.segments() {
        reading::segment(broker, &mut ledger, &segment).await?;
    }
    effects::missing(broker, &mut ledger).await?;
    let mut account = ledger.close();
    reading::subjects(broker, &mut account).await;
    Ok(account)
}

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

mod effects;
mod facts;
mod ledger;
mod letters;
mod ranges;
mod reading;
mod report;

use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;

use crate::cli::Common;
use crate::queue::Queue;
use report::Account;

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
    Ok(if account.unexplained.is_empty() { Exit::Done } else { Exit::Findings })
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

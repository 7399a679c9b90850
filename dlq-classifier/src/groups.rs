//! `groups`: dead letters by their fault.

use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;

use crate::abreast::{self, Work};
use crate::cli::{Common, GroupsArgs};
use crate::entry::{Entry, Groups};
use crate::queue::Queue;

pub(crate) async fn run(args: GroupsArgs) -> Result<Exit, CliError> {
    let Common { broker, output } = args.common;
    let queue = Queue::open(&broker).await?;
    let now = clock::now();
    let work = Work {
        is_wanted: move |entry: &Entry| args.filter.takes(entry, now),
        make: |entries: &mut dyn Iterator<Item = Entry>| Ok(entries.collect::<Groups>()),
    };
    let mut groups = Groups::default();
    abreast::read(&queue, &broker, work, async |page| {
        groups.append(page);
        Ok(())
    })
    .await?;
    output.printer().rows(&groups.into_sorted())?;
    Ok(Exit::Done)
}

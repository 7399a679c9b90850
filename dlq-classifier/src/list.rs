//! `list`: dead letters, oldest first, page by page as they are read.

use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;

use crate::abreast::{self, Work};
use crate::cli::{Common, ListArgs};
use crate::entry::Entry;
use crate::queue::Queue;

pub(crate) async fn run(args: ListArgs) -> Result<Exit, CliError> {
    let Common { broker, output } = args.common;
    let queue = Queue::open(&broker).await?;
    let (now, printer) = (clock::now(), output.printer());
    let work = Work {
        is_wanted: move |entry: &Entry| args.filter.takes(entry, now),
        make: move |entries: &mut dyn Iterator<Item = Entry>| printer.ready(entries),
    };
    let mut listing = printer.listing().aside();
    abreast::read(&queue, &broker, work, async |page| listing.append(page).await).await?;
    listing.end().await?;
    Ok(Exit::Done)
}

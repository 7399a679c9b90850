//! The second reader: a thread with a runtime and a connection of its own.

use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::config::{BrokerArgs, BrokerTarget};
use service_kit::error::CliError;
use service_kit::history::Extent;
use tokio::sync::oneshot;

use super::plan::Turns;
use super::reader::Reader;
use crate::entry::Entry;

/// Starts it; false when it has not got what it needs, and has taken nothing.
pub(super) async fn start<Wanted, Make, Made>(
    args: &BrokerArgs,
    reader: Reader<Wanted, Make, Made>,
    extent: Extent,
    turns: Turns,
) -> bool
where
    Wanted: Fn(&Entry) -> bool + Send + Sync + 'static,
    Make: Fn(&mut dyn Iterator<Item = Entry>) -> Result<Made, CliError> + Send + Sync + 'static,
    Made: Send + 'static,
{
    let Ok(target) = args.resolve() else { return false };
    let (ready, is_ready) = oneshot::channel();
    let thread = std::thread::Builder::new().name("second-reader".to_owned());
    // Nobody waits for its end: it ends when its pages are taken or nobody wants them, and at the latest with the program.
    let started = thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(work(&target, reader, extent, turns, ready));
    });
    started.is_ok() && is_ready.await.is_ok()
}

async fn work<Wanted, Make, Made>(
    target: &BrokerTarget,
    reader: Reader<Wanted, Make, Made>,
    extent: Extent,
    turns: Turns,
    ready: oneshot::Sender<()>,
) where
    Wanted: Fn(&Entry) -> bool,
    Make: Fn(&mut dyn Iterator<Item = Entry>) -> Result<Made, CliError>,
{
    // The broker has just answered: one that refuses a second connection is not asked twice.
    let Ok(broker) = Broker::connect(target, "dlq-classifier", Duration::ZERO).await else { return };
    if ready.send(()).is_err() {
        return;
    }
    let out = reader.out.clone();
    tokio::select! {
        () = out.closed() => {}
        () = reader.stretches(&broker, extent, turns) => {}
    }
}

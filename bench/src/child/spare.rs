//! From the loss of a child to the end of the next trial: with a spare, beside a cold start.

use std::path::Path;
use std::time::Duration;

use bridge_worker::child::Child;
use bridge_worker::slots::Slots;
use service_kit::error::CliError;
use tokio::time::Instant;

use super::{not_a_child, settings, train_noop};
use crate::cli::{Effort, progress};
use crate::environments::scratch;
use crate::table::{Figure, Finding, Peer, Ratio, Target};
use crate::timings::Timings;

/// Pause between two looks whether the spare is ready, which is not measured.
const POLL: Duration = Duration::from_millis(10);

pub(super) async fn measure(python: &Path, effort: Effort) -> Result<Vec<Finding>, CliError> {
    let rounds = effort.choose(3, 10);
    progress(format!("{rounds} children lost and replaced by a spare, and as many cold starts"));
    let dir = scratch()?;
    let settings = settings(python, dir.path())?;
    let slots = Slots::with_spares(1, 1, settings.clone());
    slots.warm().await.map_err(|error| not_a_child(&error))?;
    let (mut spare, mut cold) = (Timings::new(), Timings::new());
    for _ in 0..rounds {
        while slots.spares() == 0 {
            tokio::time::sleep(POLL).await;
        }
        let mut lease = slots.join(0).acquire().await;
        let lost = lease.take_child();
        let began = Instant::now();
        train_noop(lease.child().await.map_err(|error| not_a_child(&error))?, dir.path()).await?;
        spare.record(began.elapsed());
        drop(lease);
        if let Some(lost) = lost {
            lost.kill().await;
        }
        // The next spare is on its way and would slow a cold start down.
        while slots.spares() == 0 {
            tokio::time::sleep(POLL).await;
        }
        let began = Instant::now();
        let mut child = Child::start(&settings).await.map_err(|error| not_a_child(&error))?;
        train_noop(&mut child, dir.path()).await?;
        cold.record(began.elapsed());
        child.kill().await;
    }
    slots.close().await;
    let peer = Peer::new("a cold start", Figure::micros(cold.p50()));
    let name = "child: from a lost child to the end of the next trial, with a spare, p50";
    let ours = Figure::micros(spare.p50());
    Ok(vec![Finding::beside(name, ours, peer, Ratio::OursByPeer, Target::RatioAtMost(0.1))])
}

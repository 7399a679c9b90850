//! Echo calls with many on the way at once: what a child can do when nobody waits for it.

use std::path::Path;
use std::time::Duration;

use bridge_worker::child::Child;
use bridge_worker::child::protocol::ToChild;
use service_kit::error::CliError;
use tokio::time::Instant;

use super::bare::BareChild;
use super::{answer, call, not_a_child, settings};
use crate::cli::{Effort, progress};
use crate::environments::scratch;
use crate::table::{Figure, Finding, Peer, Ratio, Target, Unit};
use crate::timings::median;

/// Calls on the way at once: as many as a pipe holds.
const WINDOW: u32 = 64;

/// Measures it beside a bare pipe that is asked one thing at a time.
pub(super) async fn measure(python: &Path, effort: Effort) -> Result<Vec<Finding>, CliError> {
    let (rounds, calls) = (effort.choose(3, 10), effort.choose(640, 6400));
    progress(format!("{rounds} rounds of {calls} echo calls in a window of {WINDOW}"));
    let dir = scratch()?;
    let (mut ours, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut child =
            Child::start(&settings(python, dir.path())?).await.map_err(|error| not_a_child(&error))?;
        our_window(&mut child, dir.path(), calls / 10).await?;
        ours.push(rate(calls, our_window(&mut child, dir.path(), calls).await?));
        child.kill().await;
        let mut bare = BareChild::start(python)?;
        one_at_a_time(&mut bare, dir.path(), calls / 10).await?;
        alone.push(rate(calls, one_at_a_time(&mut bare, dir.path(), calls).await?));
    }
    let figure = |rates: &[f64]| Figure::new(median(rates).unwrap_or_default(), Unit::PerSecond);
    let peer = Peer::new("bare pipe, one at a time", figure(&alone));
    let name = "child: echo calls in a window";
    Ok(vec![Finding::beside(name, figure(&ours), peer, Ratio::OursByPeer, Target::RatioAtLeast(5.0))])
}

fn rate(calls: u32, took: Duration) -> f64 {
    f64::from(calls) / took.as_secs_f64()
}

async fn our_window(child: &mut Child, dir: &Path, calls: u32) -> Result<Duration, CliError> {
    let began = Instant::now();
    let mut on_the_way = std::collections::VecDeque::new();
    for _ in 0..calls {
        if on_the_way.len() == WINDOW as usize
            && let Some(id) = on_the_way.pop_front()
        {
            answer(child, id).await?;
        }
        let call = call(child.next_call(), "echo", dir);
        child.send(&ToChild::Call(&call)).await?;
        on_the_way.push_back(call.id);
    }
    for id in on_the_way {
        answer(child, id).await?;
    }
    Ok(began.elapsed())
}

async fn one_at_a_time(bare: &mut BareChild, dir: &Path, calls: u32) -> Result<Duration, CliError> {
    let began = Instant::now();
    for id in 0..calls {
        let call = call(id.into(), "echo", dir);
        bare.echo(&ToChild::Call(&call), call.id).await?;
    }
    Ok(began.elapsed())
}

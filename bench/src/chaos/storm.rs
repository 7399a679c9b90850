//! A queue of small runs over two workers, one of which is killed every second, now this and now that, and started
//! again at once: every run completes exactly once.
//!
//! A trial waits 20 ms and does nothing else: without the wait two workers are done before anybody can be killed.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::arena::Arena;
use super::audit;
use super::moments::Moments;
use super::report::{Halt, Report};
use crate::cli::Effort;
use crate::table::{Figure, Unit};

/// How often a worker is killed.
const EVERY: Duration = Duration::from_secs(1);
/// Kills after which the queue has to be empty: in five minutes the runs of the slowest worker come back nine times.
const MOST_KILLS: usize = 300;
/// A scenario in which fewer were killed says little.
const LEAST_KILLS: usize = 3;

/// Plays it.
pub(super) async fn play(
    arena: &mut Arena,
    report: &mut Report,
    effort: Effort,
    _moments: &mut Moments,
) -> Result<(), Halt> {
    let runs = effort.choose(400, 1000);
    let runs = arena.submit_all((0..runs).map(|number| small(&format!("storm-{number:04}")))).await?;
    let began = Instant::now();
    let mut workers = [arena.worker("worker-a").await?, arena.worker("worker-b").await?];
    let mut kills = 0;
    while arena.timeline.endings() < runs.len() && kills < MOST_KILLS {
        sleep(EVERY).await;
        let [first, second] = workers;
        first.kill(report).await;
        kills += 1;
        // The one that was started last is killed last.
        let name = if kills % 2 == 1 { "worker-a" } else { "worker-b" };
        workers = [second, arena.worker(name).await?];
        arena.read_on().await?;
    }
    let took = began.elapsed();
    arena.settled().await?;
    for worker in workers {
        worker.stop(report).await;
    }
    arena.read_on().await?;
    let per_second = f64::from(u32::try_from(runs.len()).unwrap_or(u32::MAX)) / took.as_secs_f64();
    report.struck("kills", kills, LEAST_KILLS);
    report.took("until the last run was over", took);
    report.figure("runs completed a second", Figure::new(per_second, Unit::PerSecond));
    for run in &runs {
        report.broke(audit::broken_by(run, &arena.timeline.of(run), 1));
    }
    Ok(())
}

fn small(run: &str) -> serde_json::Value {
    json!({
        "run_id": run, "dataset_id": "digits", "trainer": "timed_trainers:waits", "strategy": "random",
        "search_space": {"seconds": [0.02]}, "budget": {"max_trials": 1},
    })
}

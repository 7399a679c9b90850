//! A rolling restart: two workers under load are stopped one after the other (SIGTERM) and started again, as every
//! deployment does. Nothing is lost, nothing is done twice, and no run counts a lost worker.

use std::time::Duration;

use schemas::RunId;
use schemas::lifecycle::RunState;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::arena::Arena;
use super::audit;
use super::moments::Moments;
use super::report::{Halt, Report};
use crate::cli::Effort;
use crate::table::{Figure, Unit};

/// Long runs, under way all the time.
const LONG_RUNS: usize = 4;
const LONG_TRIALS: u32 = 60;
/// Short runs that come in before and after each restart.
const SHORT_RUNS: usize = 25;
/// How much work a worker is given before it is stopped.
const LONGEST_DELAY: Duration = Duration::from_millis(500);

/// Plays it.
pub(super) async fn play(
    arena: &mut Arena,
    report: &mut Report,
    effort: Effort,
    moments: &mut Moments,
) -> Result<(), Halt> {
    let began = Instant::now();
    let mut workers = [arena.worker("worker-a").await?, arena.worker("worker-b").await?];
    for worker in &workers {
        worker.ready().await?;
    }
    let long = arena.submit_all((0..LONG_RUNS).map(|number| long(&format!("long-{number}")))).await?;
    let mut short: Vec<RunId> = Vec::new();
    let restarts = effort.choose(2, 6);
    for restart in 0..restarts {
        short.extend(load(arena, &format!("before-{restart}")).await?);
        sleep(moments.within(LONGEST_DELAY)).await;
        let [oldest, other] = workers;
        // The load goes on while it drains.
        let late = format!("while-{restart}");
        let (loaded, ()) = tokio::join!(load(arena, &late), oldest.stop(report));
        short.extend(loaded?);
        let name = if restart % 2 == 0 { "worker-a" } else { "worker-b" };
        let fresh = arena.worker(name).await?;
        fresh.ready().await?;
        workers = [other, fresh];
    }
    for run in long.iter().chain(&short) {
        arena.ended(run).await?;
    }
    report.took("until the last run was over", began.elapsed());
    let interruptions = check(arena, report, &long, &short).await?;
    report.figure("interruptions", Figure::new(f64::from(interruptions), Unit::Count));
    arena.settled().await?;
    for worker in workers {
        worker.stop(report).await;
    }
    Ok(())
}

async fn check(arena: &mut Arena, report: &mut Report, long: &[RunId], short: &[RunId]) -> Result<u32, Halt> {
    arena.read_on().await?;
    let mut interruptions = 0;
    let trials = long.iter().map(|run| (run, LONG_TRIALS)).chain(short.iter().map(|run| (run, 1)));
    for (run, trials) in trials {
        report.broke(audit::broken_by(run, &arena.timeline.of(run), trials));
        let Some(record) = arena.record(run).await else {
            report.broke([format!("run {run}: the registry has no record of it")]);
            continue;
        };
        interruptions += record.interruptions;
        let counts = (record.worker_losses, record.failures, record.state);
        report.expect(counts == (0, 0, RunState::Completed), || {
            format!("run {run}: {} worker losses, {} failures, state {}", counts.0, counts.1, counts.2)
        });
    }
    Ok(interruptions)
}

async fn load(arena: &Arena, name: &str) -> Result<Vec<RunId>, Halt> {
    Ok(arena.submit_all((0..SHORT_RUNS).map(|number| short(&format!("short-{name}-{number}")))).await?)
}

fn long(run: &str) -> serde_json::Value {
    json!({
        "run_id": run, "dataset_id": "digits", "trainer": "faulty_trainers:sleeps_in_slices", "seed": 5,
        "search_space": {"seconds": [0.1], "x": {"low": 0.0, "high": 1.0}},
        "budget": {"max_trials": LONG_TRIALS, "population_size": 5, "parallelism": 2},
    })
}

fn short(run: &str) -> serde_json::Value {
    json!({
        "run_id": run, "dataset_id": "digits", "trainer": "noop", "strategy": "random",
        "search_space": {"x": [0.5]}, "budget": {"max_trials": 1},
    })
}

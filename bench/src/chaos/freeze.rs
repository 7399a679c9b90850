//! A worker stands still (SIGSTOP) for longer than its lease and wakes up: another has its runs by then. What it still
//! had to say about them is not stored after the new attempt has started.
//!
//! Played twice: it wakes up while the other is at work, and when the other is done.

use std::time::Duration;

use schemas::RunId;

use super::arena::{Arena, Worker};
use super::audit;
use super::moments::Moments;
use super::report::{Halt, Report};
use crate::cli::{Effort, progress};
use tokio::time::{Instant, sleep};

/// Runs the worker has in hand when it is stopped: one for each slot, so that none has to wait for another.
const RUNS: usize = 2;
const TRIALS: u32 = 30;
/// How long after the second trial of the last run it may be stopped; nowhere near the end.
const LONGEST_DELAY: Duration = Duration::from_millis(200);
/// The other's first steps, into which the woken one speaks.
const OVERLAP: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wakes {
    DuringTheOther,
    AfterTheOther,
}

/// Plays it.
pub(super) async fn play(
    arena: &mut Arena,
    report: &mut Report,
    effort: Effort,
    moments: &mut Moments,
) -> Result<(), Halt> {
    let all = [Wakes::DuringTheOther, Wakes::AfterTheOther];
    for wakes in all.into_iter().take(effort.choose(1, 2)) {
        once(arena, report, wakes, moments).await?;
    }
    arena.settled().await
}

async fn once(
    arena: &mut Arena,
    report: &mut Report,
    wakes: Wakes,
    moments: &mut Moments,
) -> Result<(), Halt> {
    let (name, what) = match wakes {
        Wakes::DuringTheOther => ("during", "taken over from a worker that wakes up during it"),
        Wakes::AfterTheOther => ("after", "taken over from a worker that wakes up after it"),
    };
    progress(format!("a worker is stopped, and wakes up {name} the other's work"));
    let frozen = arena.worker("frozen-worker").await?;
    let runs = arena.submit_all((0..RUNS).map(|number| search(&format!("frozen-{name}-{number}")))).await?;
    for run in &runs {
        arena.trained(run, 2).await?;
    }
    sleep(moments.within(LONGEST_DELAY)).await;
    frozen.pause();
    for run in &runs {
        let is_over = arena.record(run).await.is_some_and(|record| record.state.is_final());
        report.expect(!is_over, || format!("run {run} was over before its worker was stopped"));
    }
    let began = Instant::now();
    let other = arena.worker("other-worker").await?;
    match wakes {
        Wakes::DuringTheOther => {
            started_again(arena, &runs[0]).await?;
            report.took(what, began.elapsed());
            frozen.resume();
            sleep(OVERLAP).await;
            let frozen = Some(frozen);
            finish(arena, report, &runs, frozen).await?;
        }
        Wakes::AfterTheOther => {
            started_again(arena, &runs[0]).await?;
            report.took(what, began.elapsed());
            finish(arena, report, &runs, None).await?;
            frozen.resume();
            // That it ends proves that it let the runs go.
            frozen.stop(report).await;
        }
    }
    other.stop(report).await;
    arena.read_on().await?;
    for run in &runs {
        report.broke(audit::broken_by(run, &arena.timeline.of(run), TRIALS));
    }
    Ok(())
}

async fn started_again(arena: &mut Arena, run: &RunId) -> Result<(), Halt> {
    let what = format!("run {run} is started again while its worker stands still");
    super::arena::until(&what, super::arena::PATIENCE, async || {
        arena.timeline.catch_up().await.ok()?;
        arena.timeline.is_started_after(run, 1).then_some(())
    })
    .await
}

async fn finish(
    arena: &mut Arena,
    report: &mut Report,
    runs: &[RunId],
    awake: Option<Worker>,
) -> Result<(), Halt> {
    for run in runs {
        let record = arena.ended(run).await?;
        let attempt = record.attempt;
        report.expect(attempt > 1, || format!("run {run} ended in attempt {attempt}: nobody took it over"));
    }
    if let Some(worker) = awake {
        worker.stop(report).await;
    }
    Ok(())
}

fn search(run: &str) -> serde_json::Value {
    serde_json::json!({
        "run_id": run, "dataset_id": "digits", "trainer": "faulty_trainers:sleeps_in_slices", "seed": 5,
        "search_space": {"seconds": [0.2], "x": {"low": 0.0, "high": 1.0}},
        "budget": {"max_trials": TRIALS, "population_size": 5, "parallelism": 1},
    })
}

//! The worker is killed at random moments of one run and started again at once, as a machine does that restarts what
//! crashed. The run gives what the same request gives undisturbed.
//!
//! Moments are counts of stored trials, all different, and a random time after them. So every kill strikes another
//! attempt, and those that find their count passed strike an attempt that has just begun.

use std::time::Duration;

use schemas::RunId;
use schemas::lifecycle::RunState;
use tokio::time::{Instant, sleep};

use super::arena::{Arena, PATIENCE};
use super::audit;
use super::moments::Moments;
use super::report::{Halt, Report};
use crate::cli::Effort;

const TRIALS: u32 = 40;
/// No kill is meant for the last trials: a run that is over cannot be struck.
const LAST_COUNT: usize = 35;
/// Seconds of one trial, and how long after its count a kill may come.
const TRIAL_SECONDS: f64 = 0.25;
const LONGEST_DELAY: Duration = Duration::from_millis(250);

/// Plays it.
pub(super) async fn play(
    arena: &mut Arena,
    report: &mut Report,
    effort: Effort,
    moments: &mut Moments,
) -> Result<(), Halt> {
    let kills = effort.choose(4, 20);
    let (calm, calm_took) = undisturbed(arena, report).await?;
    let began = Instant::now();
    let mut worker = arena.worker("worker").await?;
    let run = arena.submit(search("disturbed")).await?;
    let (mut attempt, mut struck) = (0, 0);
    for count in moments.distinct(kills, LAST_COUNT) {
        let record = arena.claimed_after(&run, attempt).await?;
        attempt = record.attempt;
        arena.trained(&run, count).await?;
        sleep(moments.within(LONGEST_DELAY)).await;
        if arena.record(&run).await.is_some_and(|record| record.state.is_final()) {
            break;
        }
        worker.kill(report).await;
        struck += 1;
        worker = arena.worker("worker").await?;
    }
    let record = arena.ended(&run).await?;
    report.took("the undisturbed run", calm_took);
    report.took("the run", began.elapsed());
    report.struck("kills", struck, kills);
    worker.stop(report).await;
    arena.read_on().await?;
    let (before, after) = (arena.timeline.of(&calm), arena.timeline.of(&run));
    report.broke(audit::broken_by(&calm, &before, TRIALS));
    report.broke(audit::broken_by(&run, &after, TRIALS));
    report.broke(audit::differences(&before, &after).into_iter().map(|found| format!("run {run}: {found}")));
    let state = record.state;
    report.expect(state == RunState::Completed, || format!("run {run}: the registry says {state}"));
    arena.settled().await
}

async fn undisturbed(arena: &mut Arena, report: &mut Report) -> Result<(RunId, Duration), Halt> {
    let began = Instant::now();
    let worker = arena.worker("calm-worker").await?;
    let run = arena.submit(search("undisturbed")).await?;
    arena.ended(&run).await?;
    let took = began.elapsed();
    worker.stop(report).await;
    debug_assert!(took < PATIENCE, "a longer run would have been given up");
    Ok((run, took))
}

/// A genetic search, because its later candidates depend on all results before them. Each trial leaves a file.
fn search(run: &str) -> serde_json::Value {
    serde_json::json!({
        "run_id": run, "dataset_id": "digits", "trainer": "probes:leaves_a_file", "seed": 11,
        "search_space": {"seconds": [TRIAL_SECONDS], "x": {"low": 0.0, "high": 1.0}},
        "budget": {"max_trials": TRIALS, "population_size": 5, "parallelism": 2},
    })
}

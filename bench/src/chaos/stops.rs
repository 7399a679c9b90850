//! The worker is asked to stop (SIGTERM) in the middle of a run, again and again, and started again each time, as
//! deployments do. Each stop is an interruption and costs the run nothing.

use schemas::lifecycle::RunState;

use super::arena::Arena;
use super::audit;
use super::moments::Moments;
use super::report::{Halt, Report};
use crate::cli::Effort;

const STOPS: u32 = 5;
/// More than the stops let pass: between two of them up to [`MOST_NEW_TRIALS`], and those that were under way.
const TRIALS: u32 = 80;
const MOST_NEW_TRIALS: usize = 6;

/// Plays it.
pub(super) async fn play(
    arena: &mut Arena,
    report: &mut Report,
    _effort: Effort,
    moments: &mut Moments,
) -> Result<(), Halt> {
    let mut worker = arena.worker("worker").await?;
    let run = arena
        .submit(serde_json::json!({
            "run_id": "stopped", "dataset_id": "digits", "trainer": "faulty_trainers:sleeps_in_slices", "seed": 5,
            "search_space": {"seconds": [0.1], "x": {"low": 0.0, "high": 1.0}},
            "budget": {"max_trials": TRIALS, "population_size": 5, "parallelism": 2},
        }))
        .await?;
    let mut attempt = 0;
    for _ in 0..STOPS {
        attempt = arena.claimed_after(&run, attempt).await?.attempt;
        arena.read_on().await?;
        let count = arena.timeline.trials(&run) + 1 + moments.below(MOST_NEW_TRIALS);
        arena.trained(&run, count).await?;
        worker.stop(report).await;
        worker = arena.worker("worker").await?;
    }
    let record = arena.ended(&run).await?;
    worker.stop(report).await;
    arena.read_on().await?;
    report.broke(audit::broken_by(&run, &arena.timeline.of(&run), TRIALS));
    let counts = [
        ("interruptions", record.interruptions, STOPS),
        ("failures", record.failures, 0),
        ("worker losses", record.worker_losses, 0),
    ];
    for (what, found, meant) in counts {
        report.expect(found == meant, || format!("run {run}: {found} {what} instead of {meant}"));
    }
    let state = record.state;
    report.expect(state == RunState::Completed, || format!("run {run}: the registry says {state}"));
    arena.settled().await
}

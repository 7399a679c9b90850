//! What a trial costs beyond its training: many short trials on two slots, beside tuners that train in the same process
//! or on the same machine without telling anybody.
//!
//! Every trial measures its own training. The ideal is the sum of that, spread over two slots; the efficiency of a side
//! is its own ideal divided by its wall time. Ours counts from the request to the end that a consumer of the stream
//! sees, every trial stored and confirmed in between. Optuna keeps its trials in memory, joblib keeps nothing.
//!
//! The trial waits, so that two cores are not the limit. The rows of trials that use a core as long are shown beside:
//! there broker, worker and trainers share the cores.

mod tuners;

use std::time::Duration;

use schemas::cloudevents::header;
use schemas::event::RunRequested;
use schemas::subject::STREAM;
use schemas::{Event, RunId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::History;

use crate::cli::{Effort, progress};
use crate::programs::Programs;
use crate::runs::ours;
use crate::stand::{Stand, timed_trainers};
use crate::stream_client::StreamClient;
use crate::table::{Figure, Finding, Peer, Ratio, Target, Unit};
use crate::timings::{Timings, median};
use tuners::{Tuner, Tuners};

/// Slots of the worker, and jobs of the peers.
const PARALLEL: u32 = 2;
/// What one trial takes.
const TRIAL_SECONDS: f64 = 0.005;
/// Trials that may be under way at once.
const PARALLELISM: u32 = 4;
/// Trials before anything is recorded.
const WARM_UP: u32 = 50;
/// What is promised for trials that wait.
const TARGET: Target = Target::OursAtLeast(Figure::new(90.0, Unit::Percent));

/// What a trial does all the while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Waits,
    Burns,
}

impl Work {
    fn entry(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Burns => "burns",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Waits => "trials: 5 ms of waiting each, of the ideal",
            Self::Burns => "trials: 5 ms of processor each, of the ideal",
        }
    }

    fn target(self) -> Target {
        match self {
            Self::Waits => TARGET,
            Self::Burns => Target::None,
        }
    }
}

/// One search: its wall time, and what its trials took.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spent {
    wall: Duration,
    trained: Duration,
}

impl Spent {
    /// Hundredths of the wall time that were training, over all slots.
    fn efficiency(self) -> f64 {
        100.0 * self.trained.as_secs_f64() / f64::from(PARALLEL) / self.wall.as_secs_f64()
    }

    /// What a slot did beside training, for each of so many trials.
    fn overhead(self, trials: u32) -> Duration {
        (self.wall * PARALLEL).saturating_sub(self.trained) / trials
    }
}

/// What the sides showed, by round.
#[derive(Default)]
struct Scores {
    ours: Vec<Spent>,
    optuna: Vec<Spent>,
    joblib: Vec<Spent>,
}

/// Measures all sides in turns.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let programs = Programs::build(&["bridge-worker"]).await?;
    let stand = Stand::open().await?;
    let slots = usize::try_from(PARALLEL).expect("two fits everywhere");
    let worker = stand.worker_with(&programs, slots, timed_trainers()).await?;
    let broker = stand.connect().await?;
    let mut tuners = Tuners::start(&stand).await?;
    let (rounds, trials) = (effort.choose(1, 5), effort.choose(200, 500));
    let mut findings = Vec::new();
    for work in [Work::Waits, Work::Burns] {
        progress(format!(
            "{rounds} rounds of {trials} trials, each of which {} {TRIAL_SECONDS} s",
            work.entry()
        ));
        round(&broker, &mut tuners, work, WARM_UP, 0, &mut Scores::default()).await?;
        let mut scores = Scores::default();
        for number in 1..=rounds {
            round(&broker, &mut tuners, work, trials, number, &mut scores).await?;
        }
        findings.extend(rows(work, trials, &scores, tuners.as_ref().err().map(String::as_str)));
    }
    worker.stop().await;
    Ok(findings)
}

/// Every side once. Who begins changes from round to round.
async fn round(
    broker: &Broker,
    tuners: &mut Result<Tuners, String>,
    work: Work,
    trials: u32,
    number: usize,
    scores: &mut Scores,
) -> Result<(), CliError> {
    for place in 0..3 {
        match ((number + place) % 3, tuners.as_mut()) {
            (0, _) => scores.ours.push(ours(broker, work, trials).await?),
            (1, Ok(tuners)) => scores.optuna.push(tuners.tune(Tuner::Optuna, work, trials).await?),
            (_, Ok(tuners)) => scores.joblib.push(tuners.tune(Tuner::Joblib, work, trials).await?),
            (_, Err(_)) => {}
        }
    }
    Ok(())
}

async fn ours(broker: &Broker, work: Work, trials: u32) -> Result<Spent, CliError> {
    let client: StreamClient = ours::client(broker.clone(), move |run| search(run, work, trials));
    let mut wall = Timings::new();
    let ending = client.latency(1, &mut wall).await?;
    let run = ending.headers.get(header::RUN_ID).unwrap_or_default();
    let trained = trained(broker, run, trials).await?;
    Ok(Spent { wall: wall.p50(), trained })
}

/// What the trials of a run say of themselves.
async fn trained(broker: &Broker, run: &str, trials: u32) -> Result<Duration, CliError> {
    let mut history = History::to_the_present(broker, STREAM, &["ml.run.trial"], 1).await?;
    let mut took = Vec::new();
    while let Some(kept) = history.next().await? {
        if kept.headers.get(header::RUN_ID) != Some(run) {
            continue;
        }
        if let Ok(Event::TrialReported(trial)) = kept.decode().map(|decoded| decoded.event) {
            took.extend(trial.metrics.get("trained_seconds").map(|seconds| seconds.0));
        }
    }
    if took.len() == trials as usize {
        return Ok(Duration::from_secs_f64(took.iter().sum()));
    }
    Err(CliError::internal(format!("{} trials of {trials} told what they took", took.len())))
}

fn rows(work: Work, trials: u32, scores: &Scores, missing: Option<&str>) -> Vec<Finding> {
    let ours = Figure::new(efficiency(&scores.ours), Unit::Percent);
    let by_round: Vec<String> =
        scores.ours.iter().map(|spent| format!("{:.1} %", spent.efficiency())).collect();
    let mut rows = vec![
        Finding::alone(work.title(), ours, work.target())
            .with_remark(format!("by round: {}", by_round.join(", "))),
    ];
    let peers = [("Optuna, n_jobs=2, in memory", &scores.optuna), ("joblib, loky, n_jobs=2", &scores.joblib)];
    for (name, spent) in peers {
        rows.push(match missing {
            Some(missing) => Finding::without_peer(work.title(), ours, name, Target::None, missing),
            None => {
                let peer = Peer::new(name, Figure::new(efficiency(spent), Unit::Percent));
                Finding::beside(work.title(), ours, peer, Ratio::OursByPeer, Target::None)
            }
        });
    }
    let overheads: Vec<f64> =
        scores.ours.iter().map(|spent| spent.overhead(trials).as_secs_f64() * 1e6).collect();
    let overhead = Figure::new(median(&overheads).unwrap_or_default(), Unit::Microseconds);
    let name = format!("trials: beside training, a slot and trial that {}", work.entry());
    rows.push(Finding::alone(name, overhead, Target::None));
    rows
}

fn efficiency(rounds: &[Spent]) -> f64 {
    let all: Vec<f64> = rounds.iter().map(|spent| spent.efficiency()).collect();
    median(&all).unwrap_or_default()
}

fn search(run: &RunId, work: Work, trials: u32) -> RunRequested {
    let request = serde_json::json!({
        "run_id": run.as_str(),
        "dataset_id": "digits",
        "trainer": format!("timed_trainers:{}", work.entry()),
        "strategy": "random",
        "seed": 7,
        "search_space": {"seconds": [TRIAL_SECONDS], "x": {"low": 0.0, "high": 1.0}},
        "budget": {"max_trials": trials, "parallelism": PARALLELISM},
    });
    serde_json::from_value(request).expect("a request written here is valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Verdict;

    fn spent(wall: u64, trained: u64) -> Spent {
        Spent { wall: Duration::from_millis(wall), trained: Duration::from_millis(trained) }
    }

    #[test]
    fn two_slots_that_trained_all_the_time_were_ideal() {
        assert_eq!(spent(500, 1000).efficiency(), 100.0);
        assert_eq!(spent(1000, 1000).efficiency(), 50.0);
        assert_eq!(spent(600, 1000).overhead(200), Duration::from_millis(1));
    }

    #[test]
    fn the_target_is_held_against_the_median_of_trials_that_wait() {
        let scores =
            Scores { ours: vec![spent(500, 910), spent(500, 890), spent(500, 500)], ..Default::default() };
        let verdicts = |work| {
            let rows = rows(work, 200, &scores, Some("no wheel"));
            rows.iter().map(Finding::verdict).collect::<Vec<_>>()
        };
        let missing = Verdict::NotMeasured;
        assert_eq!(verdicts(Work::Waits), [Verdict::Missed, missing, missing, Verdict::Shown]);
        assert_eq!(verdicts(Work::Burns), [Verdict::Shown, missing, missing, Verdict::Shown]);
    }
}

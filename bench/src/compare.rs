//! The same search one trial at a time and as many at a time as there are slots: total, mean, throughput, speed-up.
//!
//! Equal work is proved and not assumed: both sides have trained the same candidates to the same results, or there is no
//! speed-up to speak of. Both sides run on workers with the same number of slots, so that every child has the same
//! number of numeric threads; who begins changes from round to round; the round in the middle counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemas::event::TrialStatus;
use schemas::subject::STREAM;
use schemas::{Event, Record};
use serde::Serialize;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::History;
use service_kit::output::{Format, Printer, Row};

use crate::cli::{Effort, progress};
use crate::programs::Programs;
use crate::runs::ours;
use crate::slots::search;
use crate::stand::Stand;
use crate::timings::Timings;

/// Trials and epochs of one search.
const QUICK: (u32, u32) = (8, 20);
const FULL: (u32, u32) = (24, 60);

/// One trial as far as it is work: what was trained and what came of it.
#[derive(Debug, Clone, PartialEq)]
struct Work {
    parameters: String,
    metrics: String,
}

/// One search, done.
#[derive(Debug, Clone)]
struct Side {
    at_once: usize,
    total: Duration,
    /// Time each trial took, summed up.
    trained: Duration,
    failed: usize,
    work: BTreeMap<u32, Work>,
}

/// What is printed of a side.
#[derive(Debug, Serialize)]
struct Line {
    mode: &'static str,
    at_once: usize,
    trials: usize,
    failed: usize,
    total_ms: f64,
    mean_ms: f64,
    trials_per_second: f64,
    speedup: Option<f64>,
}

/// Both sides.
#[derive(Debug, Serialize)]
struct Comparison {
    cores: usize,
    rounds: usize,
    equal_work: bool,
    speedup: Option<f64>,
    sequential: Line,
    parallel: Line,
}

/// Measures, prints, and exits with 9 when the two did not do the same.
pub(crate) async fn run(effort: Effort, is_json: bool) -> Result<Exit, CliError> {
    let programs = Programs::build(&["bridge-worker"]).await?;
    let stand = Stand::open().await?;
    let broker = stand.connect().await?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let slots = cores.max(2);
    let size = effort.choose(QUICK, FULL);
    let rounds = effort.choose(1, 3);
    let mut sides: [Vec<Side>; 2] = [Vec::new(), Vec::new()];
    let worker = stand.worker(&programs, slots).await?;
    for round in 0..rounds {
        for place in 0..sides.len() {
            let which = (round + place) % sides.len();
            let at_once = [1, slots][which];
            progress(format!("round {} of {rounds}: {at_once} of {slots} slots", round + 1));
            sides[which].push(one_search(&broker, size, at_once).await?);
        }
    }
    worker.stop().await;
    let [sequential, parallel] = sides.map(middle);
    let comparison = compare(&sequential, &parallel, cores, rounds);
    print(&comparison, is_json)?;
    Ok(if comparison.equal_work { Exit::Done } else { Exit::Findings })
}

async fn one_search(broker: &Broker, size: (u32, u32), at_once: usize) -> Result<Side, CliError> {
    let parallelism = u32::try_from(at_once).unwrap_or(u32::MAX);
    let client = ours::client(broker.clone(), move |run| search(run, size, parallelism));
    let began = Instant::now();
    let ending = client.latency(1, &mut Timings::new()).await?;
    let total = began.elapsed();
    let ending: serde_json::Value = serde_json::from_slice(&ending.payload)
        .map_err(|error| CliError::internal("the ending of a run is no JSON").because(error))?;
    let run = ending["run_id"].as_str().unwrap_or_default();
    let mut side = Side { at_once, total, trained: Duration::ZERO, failed: 0, work: BTreeMap::new() };
    let subjects = [Record::TrialReported.subject()];
    let mut history = History::to_the_present(broker, STREAM, &subjects, 1).await?;
    while let Some(kept) = history.next().await? {
        let Ok(Event::TrialReported(trial)) = kept.decode().map(|decoded| decoded.event) else { continue };
        if trial.run_id.as_str() != run {
            continue;
        }
        let took = trial.duration_ms.and_then(|took| u64::try_from(took).ok()).unwrap_or_default();
        side.trained += Duration::from_millis(took);
        side.failed += usize::from(trial.status != TrialStatus::Succeeded);
        let work = Work {
            parameters: trial.parameters.0.to_string(),
            metrics: serde_json::to_string(&trial.metrics).unwrap_or_default(),
        };
        side.work.insert(trial.number.unwrap_or_default(), work);
    }
    Ok(side)
}

/// The round in the middle, by its total.
fn middle(mut sides: Vec<Side>) -> Side {
    sides.sort_by_key(|side| side.total);
    sides.swap_remove(sides.len() / 2)
}

fn compare(sequential: &Side, parallel: &Side, cores: usize, rounds: usize) -> Comparison {
    let equal_work = !sequential.work.is_empty() && sequential.work == parallel.work;
    let speedup = equal_work.then(|| sequential.total.as_secs_f64() / parallel.total.as_secs_f64());
    Comparison {
        cores,
        rounds,
        equal_work,
        speedup,
        sequential: line("sequential", sequential, equal_work.then_some(1.0)),
        parallel: line("parallel", parallel, speedup),
    }
}

fn line(mode: &'static str, side: &Side, speedup: Option<f64>) -> Line {
    let trials = side.work.len();
    // Exact up to 2^52 of them.
    let count = f64::from(u32::try_from(trials).unwrap_or(u32::MAX));
    Line {
        mode,
        at_once: side.at_once,
        trials,
        failed: side.failed,
        total_ms: side.total.as_secs_f64() * 1e3,
        mean_ms: side.trained.as_secs_f64() * 1e3 / count.max(1.0),
        trials_per_second: count / side.total.as_secs_f64(),
        speedup,
    }
}

fn print(comparison: &Comparison, is_json: bool) -> Result<(), CliError> {
    if is_json {
        return Printer::new(Format::Json).object(comparison, |_| Ok(()));
    }
    Printer::new(Format::Table).rows(&[&comparison.sequential, &comparison.parallel])
}

impl Row for &Line {
    fn headings() -> &'static [&'static str] {
        &["mode", "at once", "trials", "failed", "total", "mean", "throughput", "speed-up"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.mode.to_owned(),
            self.at_once.to_string(),
            self.trials.to_string(),
            self.failed.to_string(),
            format!("{:.0} ms", self.total_ms),
            format!("{:.0} ms", self.mean_ms),
            format!("{:.2}/s", self.trials_per_second),
            self.speedup.map_or_else(|| "not equal work".to_owned(), |speedup| format!("{speedup:.2}x")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(at_once: usize, total_ms: u64, metrics: &str) -> Side {
        let work = |number: u32| {
            let work = Work { parameters: number.to_string(), metrics: metrics.to_owned() };
            (number, work)
        };
        Side {
            at_once,
            total: Duration::from_millis(total_ms),
            trained: Duration::from_millis(800),
            failed: 0,
            work: (0..4).map(work).collect(),
        }
    }

    #[test]
    fn a_speedup_is_the_ratio_of_the_totals_of_equal_work() {
        let comparison = compare(&side(1, 1000, "m"), &side(2, 500, "m"), 2, 1);
        assert_eq!((comparison.equal_work, comparison.speedup), (true, Some(2.0)));
        assert_eq!((comparison.parallel.mean_ms, comparison.parallel.trials_per_second), (200.0, 8.0));
    }

    #[test]
    fn without_equal_work_there_is_no_speedup() {
        let comparison = compare(&side(1, 1000, "m"), &side(2, 500, "n"), 2, 1);
        assert_eq!((comparison.equal_work, comparison.speedup), (false, None));
    }

    #[test]
    fn the_round_in_the_middle_counts() {
        let sides = [900, 100, 300].map(|total| side(1, total, "m")).to_vec();
        assert_eq!(middle(sides).total, Duration::from_millis(300));
    }
}

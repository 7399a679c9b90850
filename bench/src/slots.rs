//! A CPU-bound search on one slot and on two: real networks, a fixed seed, trials of equal cost.
//!
//! The baseline is the same worker with two slots, asked for one trial at a time (`budget.parallelism`): only the slots
//! in use differ. A worker started with one slot is shown beside it and is no baseline, because its child may use as
//! many numeric threads as there are cores, while with two slots each child gets one.
//!
//! A speedup above the number of cores is impossible for equal work. It says that a side was disturbed, so it counts
//! as not measured.

use std::time::Duration;

use schemas::RunId;
use schemas::event::RunRequested;
use service_kit::error::CliError;

use crate::cli::{Effort, progress};
use crate::programs::Programs;
use crate::runs::ours;
use crate::stand::Stand;
use crate::table::{Figure, Finding, Peer, Ratio, Target};
use crate::timings::Timings;

/// Slots in use on the faster side.
const SLOTS: usize = 2;
/// What is promised.
const TARGET: Target = Target::RatioAtLeast(1.8);
/// Rounding and timing noise above the number of cores.
const TOLERANCE: f64 = 1.05;
/// Trials and epochs of one search.
const QUICK: (u32, u32) = (8, 20);
const FULL: (u32, u32) = (12, 60);

/// Measures the wall time of one search.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let programs = Programs::build(&["bridge-worker"]).await?;
    let stand = Stand::open().await?;
    let broker = stand.connect().await?;
    let at_once = |parallelism| match effort {
        Effort::Quick => ours::client(broker.clone(), move |run| search(run, QUICK, parallelism)),
        Effort::Full => ours::client(broker.clone(), move |run| search(run, FULL, parallelism)),
    };
    // Slots of the worker, and trials at once.
    let arms = [(SLOTS, 1), (SLOTS, 2), (1, 1)];
    let rounds = effort.choose(1, 3);
    let mut took = arms.map(|_| Timings::new());
    for round in 0..rounds {
        // Who begins changes from round to round.
        for place in 0..arms.len() {
            let which = (round + place) % arms.len();
            let (slots, parallelism) = arms[which];
            progress(format!("round {} of {rounds}: {slots} slots, {parallelism} trials at once", round + 1));
            let worker = stand.worker(&programs, slots).await?;
            at_once(parallelism).latency(1, &mut took[which]).await?;
            worker.stop().await;
        }
    }
    let spreads = took.each_ref().map(spread);
    let [one, two, shipped] = took.map(|timings| timings.p50());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let remark =
        format!("{cores} cores, {rounds} searches each: one at a time {}, two {}", spreads[0], spreads[1]);
    let beside = Peer::new("a worker started with one slot", Figure::seconds(shipped));
    let name = "slots: against one slot as shipped";
    Ok(vec![
        speedup(one, two, cores, &remark),
        Finding::beside(name, Figure::seconds(two), beside, Ratio::PeerByOurs, Target::None)
            .with_remark(format!("its child has {cores} numeric threads; {}", spreads[2])),
    ])
}

fn spread(timings: &Timings) -> String {
    let (least, most) = (timings.quantile(0.0), timings.quantile(1.0));
    format!("{} to {}", Figure::seconds(least), Figure::seconds(most))
}

fn speedup(one: Duration, two: Duration, cores: usize, remark: &str) -> Finding {
    let (name, peer) = ("slots: CPU-bound search, two trials at once", "one at a time");
    let limit = f64::from(u32::try_from(cores.min(SLOTS)).unwrap_or(1)) * TOLERANCE;
    if one.as_secs_f64() / two.as_secs_f64() > limit {
        let why = format!(
            "{} by {} is more than the cores can give: a side was disturbed; {remark}",
            Figure::seconds(one),
            Figure::seconds(two)
        );
        return Finding::without_peer(name, Figure::seconds(two), peer, TARGET, why);
    }
    let peer = Peer::new(peer, Figure::seconds(one));
    Finding::beside(name, Figure::seconds(two), peer, Ratio::PeerByOurs, TARGET).with_remark(remark)
}

/// Only the learning rate varies, so that every trial costs the same.
pub(crate) fn search(run: &RunId, (trials, epochs): (u32, u32), parallelism: u32) -> RunRequested {
    let request = serde_json::json!({
        "run_id": run.as_str(),
        "dataset_id": "digits",
        "strategy": "random",
        "seed": 7,
        "search_space": {
            "layers": [2],
            "neurons": [128],
            "activation": ["relu"],
            "epochs": [epochs],
            "learning_rate": {"low": 0.0005, "high": 0.005, "log": true},
        },
        "budget": {"max_trials": trials, "parallelism": parallelism},
    });
    serde_json::from_value(request).expect("a request written here is valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Verdict;

    #[test]
    fn a_speedup_beyond_the_cores_is_no_result() {
        let verdict =
            |one: f64| speedup(Duration::from_secs_f64(one), Duration::from_secs(1), 2, "").verdict();
        assert_eq!(verdict(1.9), Verdict::Met);
        assert_eq!(verdict(1.5), Verdict::Missed);
        assert_eq!(verdict(6.8), Verdict::NotMeasured);
    }
}

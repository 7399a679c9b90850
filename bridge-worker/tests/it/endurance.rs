//! What many calls on one slot leave behind: nothing, on either side.

use std::time::Duration;

use schemas::lifecycle::RunState;
use serde_json::json;
use testkit::processes::descendants;

use crate::house::House;

/// Calls of one run, and runs: enough to make a leak of 400 bytes a call visible.
const CALLS: u32 = 2_000;
const RUNS: u32 = 5;
/// By how much memory may differ that leaks nothing: allocators keep what was freed.
const SLACK_BYTES: u64 = 4 << 20;

#[derive(Debug, Clone, Copy)]
struct Held {
    bytes: u64,
    descriptors: usize,
}

fn held_by(pid: u32) -> Held {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let anonymous = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let kibibytes: u64 = anonymous.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    Held { bytes: kibibytes * 1024, descriptors }
}

async fn train(house: &House, number: u32) {
    let run = format!("calls-{number}");
    let budget = json!({"max_trials": CALLS, "parallelism": 1});
    house
        .request(json!({"run_id": run, "dataset_id": "digits", "trainer": "noop", "strategy": "random", "seed": number,
            "search_space": {"x": {"low": 0.0, "high": 1.0}}, "budget": budget}))
        .await;
    let record = house.ended(&run).await;
    assert_eq!((record.state, record.failed_trials), (RunState::Completed, 0));
}

#[tokio::test]
async fn ten_thousand_calls_on_one_slot_leak_nothing_on_either_side() {
    let house = House::open().await;
    let worker = house.worker(&["--slots", "1", "--spares", "0", "--preload", "noop"]).await;
    // Buffers and caches have their size after the first run.
    train(&house, 0).await;
    let child = descendants(worker.pid());
    assert_eq!(child.len(), 1);
    let before = [held_by(worker.pid()), held_by(child[0])];
    for number in 1..RUNS {
        train(&house, number).await;
    }
    assert_eq!(descendants(worker.pid()), child, "one child had all the calls");
    testkit::wait_until("both sides hold what they held", Duration::from_secs(10), async || {
        let after = [held_by(worker.pid()), held_by(child[0])];
        let is_back = |(before, after): (&Held, &Held)| {
            after.bytes <= before.bytes + SLACK_BYTES && after.descriptors <= before.descriptors
        };
        before.iter().zip(&after).all(is_back).then_some(())
    })
    .await;
    worker.stop().await;
}

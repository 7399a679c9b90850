//! What a worker shows on /metrics about its children and their calls.

use std::collections::BTreeMap;

use serde_json::json;
use testkit::wait_until;

use crate::house::{House, PATIENCE, page};

/// Every series of the worker of `house`, by name and labels.
async fn series(house: &House) -> BTreeMap<String, f64> {
    let address = wait_until("the worker says where it listens", PATIENCE, async || {
        let log = std::fs::read_to_string(house.scratch.join("worker.log")).unwrap();
        let ready = log.lines().find(|line| line.contains("worker ready"))?.to_owned();
        let (_, after) = ready.split_once("127.0.0.1:")?;
        after.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u16>().ok()
    })
    .await;
    let answer = page(&format!("127.0.0.1:{address}"), "/metrics").await;
    let of_line = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    answer.lines().filter(|line| !line.starts_with('#')).filter_map(of_line).collect()
}

#[tokio::test]
async fn calls_of_a_whole_search_are_counted_by_their_tries_and_their_ends() {
    let house = House::open().await;
    let worker = house
        .worker(&[
            "--slots",
            "1",
            "--preload",
            "noop",
            "--allow-entrypoint",
            "searches:*",
            "--retry-backoff-ms",
            "5",
        ])
        .await;
    let marks = house.scratch.path();
    for function in ["dies_the_first_time", "raises", "forgets_the_best"] {
        let space = json!({"marks": marks});
        house
            .request(
                json!({"run_id": function, "dataset_id": "mine", "entrypoint": format!("searches:{function}"),
                "search_space": space}),
            )
            .await;
        house.ended(function).await;
    }
    house
        .request(
            json!({"run_id": "long", "dataset_id": "mine", "entrypoint": "searches:tells_two_and_hangs"}),
        )
        .await;
    house.trained("long", 2).await;
    house.publish_plain("cerebros.nas.run.cancel_requested", r#"{"run_id": "long"}"#).await;
    house.ended("long").await;
    let shown = series(&house).await;
    for (name, value) in [
        ("cerebros_invocations_started_total{attempt=\"1\"}", 4.0),
        ("cerebros_invocations_started_total{attempt=\"2\"}", 1.0),
        ("cerebros_invocation_seconds_count{end=\"subprocess_exit\"}", 1.0),
        ("cerebros_invocation_seconds_count{end=\"succeeded\"}", 1.0),
        ("cerebros_invocation_seconds_count{end=\"user_code\"}", 1.0),
        ("cerebros_invocation_seconds_count{end=\"parse_error\"}", 1.0),
        ("cerebros_invocation_seconds_count{end=\"cancelled\"}", 1.0),
    ] {
        assert_eq!(shown.get(name), Some(&value), "{name} in {shown:#?}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn children_and_calls_are_counted_by_slot_and_by_end() {
    let house = House::open().await;
    let worker = house
        .worker(&[
            "--slots",
            "2",
            "--spares",
            "1",
            "--preload",
            "noop",
            "--allow-entrypoint",
            "faulty_trainers:*",
            "--retry-backoff-ms",
            "5",
        ])
        .await;
    for (run, trainer) in [("fatal", "faulty_trainers:exits_at_once"), ("fine", "noop")] {
        let budget = json!({"max_trials": 1});
        house
            .request(json!({"run_id": run, "dataset_id": "digits", "trainer": trainer, "search_space": {"x": [0.5]},
                "budget": budget}))
            .await;
        house.ended(run).await;
    }
    let shown = wait_until("the slots were looked at", PATIENCE, async || {
        let shown = series(&house).await;
        let of_slots = |name: &str| [0, 1].map(|slot| shown[&format!("{name}{{slot=\"{slot}\"}}")]);
        let calls: f64 = of_slots("cerebros_child_calls_total").iter().sum();
        let restarts: f64 = of_slots("cerebros_child_restarts_total").iter().sum();
        let used: f64 = of_slots("cerebros_child_cpu_seconds_total").iter().sum();
        let is_resident = of_slots("cerebros_child_resident_bytes").iter().any(|bytes| *bytes > 10e6);
        let is_ready = shown["cerebros_spares_ready"] == 1.0;
        (calls == 4.0 && restarts >= 2.0 && used > 0.0 && is_resident && is_ready).then_some(shown)
    })
    .await;
    for (name, value) in [
        ("cerebros_invocations_started_total{attempt=\"1\"}", 2.0),
        ("cerebros_invocations_started_total{attempt=\"2\"}", 1.0),
        ("cerebros_invocations_started_total{attempt=\"3\"}", 1.0),
        ("cerebros_invocation_seconds_count{end=\"succeeded\"}", 1.0),
        ("cerebros_invocation_seconds_count{end=\"subprocess_exit\"}", 3.0),
    ] {
        assert_eq!(shown.get(name), Some(&value), "{name} in {shown:#?}");
    }
    worker.stop().await;
}

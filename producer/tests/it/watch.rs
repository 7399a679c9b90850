//! `watch`: every event once, the right end, the right exit code.

use schemas::RunId;
use schemas::lifecycle::RunState;
use serde_json::Value;
use testkit::{Fault, Proxy, wait_until};

use crate::program::{Running, producer};
use crate::script::Script;
use crate::stage::{DEADLINE, Stage};

const RUN: &str = "watched";

fn run() -> RunId {
    RunId::parse(RUN).unwrap()
}

async fn submitted() -> Stage {
    let stage = Stage::set().await;
    producer(&stage.url(), &["submit", "--set", "dataset_id=digits", "--run-id", RUN]).await.id();
    stage
}

fn sequence(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()
}

fn sequences(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_feed_has_every_event_of_the_run_in_order_and_ends_with_it() {
    let stage = submitted().await;
    let script = Script::new(&stage.broker, &run(), 1);
    script.started().await;
    script.trial(0, 0.8).await;
    Script::new(&stage.broker, &RunId::parse("another").unwrap(), 1).trial(0, 0.1).await;
    script.trial(1, 0.9).await;
    script.completed().await;
    for format in ["json", "ndjson"] {
        let ended = producer(&stage.url(), &["watch", RUN, "-o", format]).await;
        let lines = ended.lines();
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        assert_eq!(sequences(&lines), [1, 2, 3, 5, 6]);
        assert!(lines.iter().all(|line| line["run_id"] == RUN && line["time"].is_string()));
        assert_eq!(lines[2]["type"], "ml.run.trial.v1");
        assert_eq!(lines[2]["data"]["metrics"]["accuracy"], 0.8);
    }
    let later = producer(&stage.url(), &["watch", RUN, "-o", "ndjson", "--since-seq", "3"]).await;
    assert_eq!(sequences(&later.lines()), [5, 6]);
    let table = producer(&stage.url(), &["watch", RUN]).await;
    assert!(table.stdout.contains("completed: 2 trials, best accuracy 0.9000"), "{table:?}");
}

#[tokio::test]
async fn events_are_shown_as_they_come() {
    let stage = submitted().await;
    let mut running = Running::start(&stage.url(), &["watch", RUN, "-o", "ndjson"]);
    let script = Script::new(&stage.broker, &run(), 1);
    assert!(running.line().await.unwrap().contains("cerebros.nas.run.requested"));
    script.started().await;
    assert!(running.line().await.unwrap().contains("cerebros.nas.run.started"));
    script.failed("no luck").await;
    assert!(running.line().await.unwrap().contains("no luck"));
    assert_eq!(running.end().await.code, 8);
}

#[tokio::test]
async fn the_end_of_an_earlier_attempt_is_not_the_end() {
    let stage = submitted().await;
    stage.claim(&run()).await;
    let first = Script::new(&stage.broker, &run(), 1);
    first.started().await;
    first.failed("flaky").await;
    stage.end(&run(), RunState::Failed).await;
    producer(&stage.url(), &["retry", RUN]).await.id();
    let mut running = Running::start(&stage.url(), &["watch", RUN, "-o", "ndjson", "--from-start"]);
    for subject in ["requested", "started", "failed", "requested"] {
        assert!(running.line().await.unwrap().contains(&format!("cerebros.nas.run.{subject}")));
    }
    assert_eq!(stage.claim(&run()).await, 2);
    let second = Script::new(&stage.broker, &run(), 2);
    second.started().await;
    first.trial(5, 1.0).await;
    second.completed().await;
    let ended = running.end().await;
    assert_eq!((ended.code, ended.lines().len()), (0, 3));
}

#[tokio::test]
async fn a_run_whose_events_are_gone_ends_as_the_registry_says() {
    let stage = submitted().await;
    stage.claim(&run()).await;
    stage.end(&run(), RunState::Cancelled).await;
    assert_eq!(producer(&stage.url(), &["watch", RUN]).await.code, 8);
    stage.end(&run(), RunState::Completed).await;
    assert_eq!(producer(&stage.url(), &["watch", RUN]).await.code, 0);
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_watch_quietly() {
    let stage = submitted().await;
    let mut running = Running::start(&stage.url(), &["watch", RUN, "-o", "ndjson"]);
    running.line().await.unwrap();
    running.close_stdout();
    Script::new(&stage.broker, &run(), 1).started().await;
    let ended = running.end().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[tokio::test]
async fn who_stops_watching_stops_nothing_and_is_told_so() {
    let stage = submitted().await;
    let mut running = Running::start(&stage.url(), &["watch", RUN, "-o", "ndjson"]);
    running.line().await.unwrap();
    running.interrupt().await;
    let ended = running.end().await;
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(
        ended.stderr.contains("run watched goes on") && ended.stderr.contains("producer cancel watched"),
        "{ended:?}"
    );
    assert_eq!(stage.last_sequence().await, 1);
}

#[tokio::test]
async fn a_broker_that_restarts_costs_no_event_and_shows_none_twice() {
    let mut stage = submitted().await;
    let mut running = Running::start(&stage.url(), &["watch", RUN, "-o", "ndjson"]);
    running.line().await.unwrap();
    let script = Script::new(&stage.broker, &run(), 1);
    script.started().await;
    running.line().await.unwrap();
    stage.nats.kill().await;
    stage.nats.restart().await;
    wait_until("the test's own connection is back", DEADLINE, async || {
        stage.broker.is_connected().then_some(())
    })
    .await;
    script.trial(0, 0.8).await;
    script.completed().await;
    let ended = running.end().await;
    assert_eq!((ended.code, sequences(&ended.lines())), (0, vec![3, 4]), "{ended:?}");
}

#[tokio::test]
async fn a_watch_that_was_cut_off_and_resumed_gives_every_event_exactly_once() {
    let stage = submitted().await;
    let script = Script::new(&stage.broker, &run(), 1);
    let feed = ["watch", RUN, "-o", "ndjson"];
    let mut first = Running::start(&stage.url(), &feed);
    let mut seen = vec![sequence(&first.line().await.unwrap())];
    script.started().await;
    script.trial(0, 0.1).await;
    seen.extend([sequence(&first.line().await.unwrap()), sequence(&first.line().await.unwrap())]);
    first.interrupt().await;
    let ended = first.end().await;
    let last = seen.last().unwrap().to_string();
    assert_eq!((ended.code, ended.stdout.as_str()), (130, ""), "{ended:?}");
    assert!(ended.stderr.contains(&format!("producer watch {RUN} --since-seq {last}")), "{ended:?}");

    Script::new(&stage.broker, &RunId::parse("another").unwrap(), 1).trial(0, 0.1).await;
    script.trial(1, 0.2).await;
    let since = [&feed[..], &["--since-seq", &last]].concat();
    let mut second = Running::start(&stage.url(), &since);
    seen.push(sequence(&second.line().await.unwrap()));
    script.trial(2, 0.3).await;
    script.completed().await;
    let ended = second.end().await;
    seen.extend(sequences(&ended.lines()));
    assert_eq!((ended.code, seen), (0, vec![1, 2, 3, 5, 6, 7]));

    let after_the_end = producer(&stage.url(), &[&feed[..], &["--since-seq", "7"]].concat()).await;
    assert_eq!((after_the_end.code, after_the_end.stdout.as_str()), (0, ""), "{after_the_end:?}");
}

#[tokio::test]
async fn a_cut_connection_costs_no_event_and_shows_none_twice() {
    let stage = submitted().await;
    let proxy = Proxy::start(&stage.url()).await;
    let script = Script::new(&stage.broker, &run(), 1);
    let mut running = Running::start(&proxy.url(), &["watch", RUN, "-o", "ndjson"]);
    let mut seen = vec![sequence(&running.line().await.unwrap())];
    script.started().await;
    for number in 0..3 {
        seen.push(sequence(&running.line().await.unwrap()));
        let accepted = proxy.accepted();
        proxy.set(Fault::Cut);
        script.trial(number, 0.5).await;
        wait_until("the watch knocks at the cut line", DEADLINE, async || {
            (proxy.accepted() > accepted).then_some(())
        })
        .await;
        proxy.set(Fault::Pass);
    }
    script.completed().await;
    let ended = running.end().await;
    seen.extend(sequences(&ended.lines()));
    assert_eq!((ended.code, seen), (0, vec![1, 2, 3, 4, 5, 6]), "{}", ended.stderr);
}

#[tokio::test]
async fn a_watch_the_broker_left_says_where_the_next_one_goes_on() {
    let stage = submitted().await;
    let proxy = Proxy::start(&stage.url()).await;
    let script = Script::new(&stage.broker, &run(), 1);
    let feed = ["watch", RUN, "-o", "ndjson"];
    let mut lost = Running::start(&proxy.url(), &[&feed[..], &["--timeout", "5s"]].concat());
    script.started().await;
    let mut seen = vec![sequence(&lost.line().await.unwrap()), sequence(&lost.line().await.unwrap())];
    proxy.set(Fault::Cut);
    script.trial(0, 0.5).await;
    let ended = lost.end().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (6, ""), "{ended:?}");
    assert!(ended.stderr.contains(&format!("producer watch {RUN} --since-seq 2")), "{ended:?}");
    script.completed().await;
    let rest = producer(&stage.url(), &[&feed[..], &["--since-seq", "2"]].concat()).await;
    seen.extend(sequences(&rest.lines()));
    assert_eq!((rest.code, seen), (0, vec![1, 2, 3, 4]));
}

#[tokio::test]
async fn an_unknown_run_is_not_found() {
    let stage = Stage::set().await;
    for command in ["watch", "show", "cancel", "retry", "scale"] {
        let arguments = [command, "nobody", "1"];
        let count = if command == "scale" { 3 } else { 2 };
        let ended = producer(&stage.url(), &arguments[..count]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{command}: {ended:?}");
        assert!(ended.stderr.starts_with("error[run-unknown]: there is no run nobody"), "{ended:?}");
    }
}

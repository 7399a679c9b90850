//! `show`: why a run ended, and what its trials died of.

use schemas::event::TrialStatus;
use schemas::lifecycle::RunState;
use schemas::{Failure, FailureClass, RunId, Stage as Place, TrialId};
use serde_json::Value;
use service_kit::births::{Birth, Births, run_key, trial_key};

use crate::program::producer;
use crate::script::Script;
use crate::stage::Stage;

const RUN: &str = "a";

fn run() -> RunId {
    RunId::parse(RUN).unwrap()
}

/// A claimed run that has started.
async fn started() -> (Stage, Script) {
    let stage = Stage::set().await;
    let submit = ["submit", "--set", "dataset_id=digits", "--set", "budget.max_trials=30", "--run-id", RUN];
    producer(&stage.url(), &submit).await.id();
    stage.claim(&run()).await;
    let script = Script::new(&stage.broker, &run(), 1);
    script.started().await;
    (stage, script)
}

async fn for_people(stage: &Stage) -> String {
    let ended = producer(&stage.url(), &["show", RUN]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    ended.stdout
}

async fn for_machines(stage: &Stage) -> Value {
    producer(&stage.url(), &["show", RUN, "-o", "json"]).await.json()
}

#[tokio::test]
async fn a_running_run_shows_how_far_it_is_and_how_many_trials_are_under_way() {
    let (stage, _) = started().await;
    stage
        .record(&run(), |record| {
            (record.completed_trials, record.failed_trials, record.running_trials) = (7, 2, 3);
        })
        .await;
    let people = for_people(&stage).await;
    assert!(people.contains("trials         7/30 (2 failed, 3 under way)\n"), "{people}");
    assert!(!people.contains("failed trials") && !people.contains("ended by"), "{people}");
    let shown = for_machines(&stage).await;
    assert_eq!((&shown["max_trials"], &shown["running_trials"]), (&30.into(), &3.into()));
    assert_eq!((&shown["parallelism"], &shown["ended_because"]), (&4.into(), &Value::Null));
}

#[tokio::test]
async fn why_a_run_ended_is_told_in_words_beside_the_machine_s_word() {
    let (stage, _) = started().await;
    for (state, word, words) in [
        (RunState::Completed, "max_trials", "every trial of its budget was trained"),
        (RunState::Completed, "max_seconds", "its time was up (budget.max_seconds)"),
        (RunState::Failed, "max_failed_trials", "too many of its trials failed (budget.max_failed_trials)"),
        (RunState::Failed, "oom", "a training process ran out of memory"),
        (RunState::Cancelled, "cancelled", "somebody asked for its end: too slow"),
    ] {
        stage
            .record(&run(), |record| {
                (record.state, record.ended_by) = (state, Some(word.to_owned()));
                record.cancel_requested = (word == "cancelled").then(|| "too slow".to_owned());
            })
            .await;
        let shown = for_machines(&stage).await;
        assert_eq!((&shown["ended_by"], &shown["ended_because"]), (&word.into(), &words.into()));
        let people = for_people(&stage).await;
        assert!(people.contains(&format!("ended by       {word}: {words}\n")), "{people}");
    }
    stage.record(&run(), |record| record.ended_by = Some("full_moon".into())).await;
    assert_eq!(for_machines(&stage).await["ended_because"], Value::Null);
    assert!(for_people(&stage).await.contains("ended by       full_moon\n"));
}

#[tokio::test]
async fn a_failed_trial_is_shown_with_what_it_died_of_and_the_last_lines_it_printed() {
    let (stage, script) = started().await;
    script.trial(0, 0.5).await;
    script.failed_trial(1, "boom", "one\ntwo\nthree\nfour\nfive\nsix\n").await;
    let mut killed =
        Failure::new(FailureClass::Oom, Place::Execute, "out of memory").with_output("said on stdout", "");
    killed.signal = Some(9);
    script.failed_with(2, killed).await;
    let people = for_people(&stage).await;
    assert!(people.contains("  trial 1: user_code: boom (exit code 3)\n"), "{people}");
    let lines = "(stderr):\n    | two\n    | three\n    | four\n    | five\n    | six\n";
    assert!(people.contains(lines) && !people.contains("| one"), "{people}");
    assert!(people.contains("  trial 2: oom: out of memory (signal 9)\n"), "{people}");
    assert!(people.contains("(stdout):\n    | said on stdout\n"), "{people}");
    let shown = for_machines(&stage).await;
    assert_eq!(shown["trials"][0]["failure"], Value::Null);
    let failure = &shown["trials"][1]["failure"];
    assert_eq!((&failure["class"], &failure["exit_code"]), (&"user_code".into(), &3.into()));
    assert_eq!(failure["stderr_excerpt"], "one\ntwo\nthree\nfour\nfive\nsix\n");
    assert_eq!(
        (&shown["trials"][1]["failure_class"], &shown["trials"][2]["failure"]["signal"]),
        (&"user_code".into(), &9.into())
    );
}

#[tokio::test]
async fn trials_that_died_of_the_same_are_told_once_and_at_most_ten_causes_are() {
    let (stage, script) = started().await;
    for number in 0..12 {
        script.failed_trial(number, "boom", &format!("printed by {number}")).await;
    }
    let causes = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    for (number, cause) in (12..).zip(causes) {
        script.failed_trial(number, &format!("cause {cause}"), "").await;
    }
    let people = for_people(&stage).await;
    assert!(
        people.contains(
            "  12 trials: user_code: boom (exit code 3)\n    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 2 more\n"
        ),
        "{people}"
    );
    assert!(people.contains("the last lines of trial 11 (stderr):\n    | printed by 11\n"), "{people}");
    assert!(
        people.contains("\n  trial 20: user_code: cause i") && !people.contains("\n  trial 21:"),
        "{people}"
    );
    assert!(
        people.contains("and 2 more that died of something else; -o json has all of every failure\n"),
        "{people}"
    );
    assert_eq!(for_machines(&stage).await["trials"].as_array().unwrap().len(), 23);
}

#[tokio::test]
async fn hostile_text_is_shown_and_does_nothing() {
    let (stage, script) = started().await;
    let escape = "\u{1b}[2J\u{1b}]0;owned\u{7}";
    script
        .failed_trial(
            0,
            &format!("{escape}\nstate          completed"),
            &format!("{escape}\u{202e}x\r\n\u{9b}31m"),
        )
        .await;
    let mut long = Failure::new(FailureClass::UserCode, Place::Execute, "");
    long.message = "m".repeat(100_000);
    long.fingerprint = String::new();
    script.failed_with(1, long).await;
    script.trial_of(2, TrialStatus::Failed).await;
    stage.record(&run(), |record| record.worker_id = Some(format!("w{escape}\nrun            b"))).await;
    let people = for_people(&stage).await;
    assert!(people.contains(r"\u{1b}[2J\u{1b}]0;owned\u{7}\nstate"), "{people}");
    assert!(people.contains(r"    | \u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}x"), "{people}");
    assert!(people.contains("trial 2: nobody said why"), "{people}");
    let mut lines = people.lines();
    assert!(people.lines().all(|line| line.chars().count() < 600), "a line without end");
    assert_eq!(lines.clone().filter(|line| line.starts_with("run ")).count(), 1);
    assert!(!lines.any(|line| line == "state          completed"));
    let json = producer(&stage.url(), &["show", RUN, "-o", "json"]).await;
    let unfit = |character: char| character.is_control() && character != '\n' || character == '\u{202e}';
    assert!(!json.stdout.contains(unfit));
    let shown = json.json();
    assert_eq!(shown["trials"][1]["failure"]["message"].as_str().map(str::len), Some(100_000));
    assert!(shown["trials"][0]["failure"]["message"].as_str().unwrap().starts_with(escape));
}

#[tokio::test]
async fn the_run_and_its_trials_lead_to_their_runs_in_mlflow() {
    let (stage, script) = started().await;
    script.trial(1, 0.5).await;
    script.failed_trial(2, "boom", "").await;
    let before = for_people(&stage).await;
    assert!(before.contains("trial  status     accuracy\n1      succeeded  0.5000\n"), "{before}");

    let births = Births::open(&stage.broker).await.unwrap();
    let trial = |number| TrialId::numbered(&run(), number);
    let (first, other) = ("1".repeat(32), "2".repeat(32));
    for (key, id) in [
        (run_key("server", &run()), "run-id"),
        (trial_key("server", &run(), &trial(1)), &first),
        (run_key("another", &run()), "another-run-id"),
        (trial_key("another", &run(), &trial(1)), &other),
    ] {
        let (id, experiment) = (id.to_owned(), "7".to_owned());
        let birth = Birth::Made { id, experiment, is_from_birth: true, doubts: Vec::new() };
        births.put(&key, &birth, 0).await.unwrap().unwrap();
    }
    let url = "http://mlflow.example/#/experiments/7/runs/run-id";
    stage
        .record(&run(), |record| {
            (record.mlflow_run_id, record.mlflow_url) = (Some("run-id".into()), Some(url.into()));
        })
        .await;
    let shown = for_machines(&stage).await;
    assert_eq!((&shown["mlflow_run_id"], &shown["mlflow_url"]), (&"run-id".into(), &url.into()));
    assert_eq!(shown["trials"][0]["mlflow_run_id"], first.as_str());
    assert_eq!(shown["trials"][1]["mlflow_run_id"], Value::Null);
    let people = for_people(&stage).await;
    assert!(people.contains(&format!("mlflow         {url}\n")), "{people}");
    assert!(people.contains("trial  status     accuracy  mlflow\n"), "{people}");
    assert!(people.contains(&format!("1      succeeded  0.5000    {first}\n")), "{people}");
    assert!(
        people.contains(&format!("2      failed     -         -{}  user_code: boom", " ".repeat(31))),
        "{people}"
    );
}

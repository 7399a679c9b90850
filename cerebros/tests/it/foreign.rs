//! Strangers: our client for Python, and examples in two languages that know nothing but the NATS client of each.

mod pipeline;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use testkit::{tests_python, wait_until, workspace};
use tokio::process::Command;

use crate::program::{stderr, stdout};
use pipeline::Pipeline;

/// Longest wait for one program; the first run of a worker waits for its Python processes.
const PATIENCE: Duration = Duration::from_secs(120);
const SPEC: &str = r#"{"dataset_id": "digits", "trainer": "noop", "budget": {"max_trials": 4}}"#;
/// Neither JSON nor text, with everything in it that a careless writer changes.
const GARBAGE: &[u8] = b"{\"dataset_id\": \"\xff\xfe\"\r\n\x00\x1b[31m} \n";

#[tokio::test]
async fn the_python_client_s_own_tests_pass() {
    let pipeline = Pipeline::open(&["--encoding", "json"]).await;
    let tests = pipeline
        .stranger(tests_python().await)
        .args(["-m", "unittest", "--verbose"])
        .current_dir(workspace().join("clients/python"))
        .env("CEREBROS_TEST_NATS_URL", pipeline.url())
        .env("CEREBROS_TEST_NATS_SERVER", testkit::nats_server().await);
    // They end themselves when one of them hangs.
    let told = stderr(&succeeds_within(Duration::from_secs(600), tests).await);
    let ran =
        told.lines().find_map(|line| line.strip_prefix("Ran ")).expect("unittest says how many tests ran");
    let count: usize = ran.split(' ').next().unwrap().parse().unwrap();
    assert!(count >= 50 && !told.contains("skipped"), "{told}");
}

#[tokio::test]
async fn the_lines_of_the_client_s_readme_do_what_they_say() {
    let pipeline = Pipeline::open(&[]).await;
    let readme = std::fs::read_to_string(workspace().join("clients/python/README.md")).unwrap();
    let code = readme.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(code.lines().count() <= 10, "{code}");
    let printed =
        stdout(&succeeds(with_client(pipeline.stranger(tests_python().await)).args(["-c", code])).await);
    let last = printed.lines().last().unwrap();
    assert!(printed.contains("cerebros.nas.run.completed.v1") && last.contains("layers"), "{printed}");
}

#[tokio::test]
async fn the_client_reads_every_event_as_our_own_watch_does_in_both_encodings() {
    for encoding in ["json", "avro"] {
        let pipeline = Pipeline::open(&["--encoding", encoding]).await;
        let submit = pipeline.cerebros(&["run", "submit", SPEC, "--encoding", encoding, "--wait"]);
        let run = stdout(&succeeds(submit).await).trim().to_owned();
        let ours = pipeline.cerebros(&["run", "watch", &run, "--from-start", "-o", "ndjson"]);
        let script = workspace().join("cerebros/tests/it/fixtures/watch_as_lines.py");
        let theirs = with_client(pipeline.stranger(tests_python().await)).arg(script).arg(&run);
        let (ours, theirs) = (lines(&succeeds(ours).await), lines(&succeeds(theirs).await));
        assert!(ours.len() >= 9, "requested, started, start, four trials, stop, completed: {ours:?}");
        assert_eq!(ours, theirs, "{encoding}");
    }
}

#[tokio::test]
async fn the_examples_in_python_go_from_a_request_to_a_dead_letter() {
    let pipeline = Pipeline::open(&[]).await;
    let python = tests_python().await;
    from_a_request_to_a_dead_letter(&pipeline, |example| {
        let script = workspace().join(format!("examples/python/{example}.py"));
        pipeline.stranger(&python).arg(script)
    })
    .await;
}

#[tokio::test]
async fn the_examples_in_javascript_go_from_a_request_to_a_dead_letter() {
    let pipeline = Pipeline::open(&[]).await;
    let scripts = testkit::javascript_examples().await;
    from_a_request_to_a_dead_letter(&pipeline, |example| {
        Stranger(pipeline.at_home(scripts.command(&format!("{example}.mjs"))))
    })
    .await;
}

async fn from_a_request_to_a_dead_letter(pipeline: &Pipeline, example: impl Fn(&str) -> Stranger) {
    let run = stdout(&succeeds(example("submit").arg(SPEC)).await).trim().to_owned();
    let followed = stdout(&succeeds(example("follow").arg(&run)).await);
    let subjects: Vec<&str> = followed.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(subjects.first(), Some(&"cerebros.nas.run.requested"), "{followed}");
    assert_eq!(subjects.iter().filter(|subject| **subject == "ml.run.trial").count(), 4, "{followed}");
    assert_eq!(subjects.last(), Some(&"cerebros.nas.run.completed"), "{followed}");

    assert_eq!(stdout(&succeeds(example("dead_letters")).await), "", "there is none yet");
    fails(example("dead_letters").arg("NOSUCH"), "there is no dead letter NOSUCH").await;
    pipeline.publish("cerebros.nas.run.requested", GARBAGE).await;
    let listed = wait_until("the garbage is a dead letter", PATIENCE, async || {
        let listed = stdout(&succeeds(example("dead_letters")).await);
        (!listed.is_empty()).then_some(listed)
    })
    .await;
    let row: Vec<&str> = listed.trim_end().split('\t').collect();
    assert_eq!(row[1..3], ["decode", "cerebros.nas.run.requested"], "{listed}");
    let letter = succeeds(example("dead_letters").arg(row[0])).await;
    assert_eq!(letter.stdout, GARBAGE, "byte for byte");
    fails(example("dead_letters").arg("NOSUCH"), "there is no dead letter NOSUCH").await;
    let verdict = stderr(&letter);
    for line in [format!("Cerebros-Dlq-Id: {}", row[0]), "Cerebros-Dlq-Stage: decode".to_owned()] {
        assert!(verdict.lines().any(|said| said == line), "{verdict}");
    }
}

/// A program of somebody else's.
struct Stranger(Command);

impl Stranger {
    fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.0.args(arguments);
        self
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    async fn ends_within(&mut self, patience: Duration) -> Output {
        let output = tokio::time::timeout(patience, self.0.output()).await;
        output.unwrap_or_else(|_| panic!("{:?} goes on and on", self.0)).unwrap()
    }

    fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.0.current_dir(dir);
        self
    }
}

fn with_client(stranger: Stranger) -> Stranger {
    stranger.env("PYTHONPATH", workspace().join("clients/python/src"))
}

async fn succeeds(stranger: Stranger) -> Output {
    succeeds_within(PATIENCE, stranger).await
}

async fn succeeds_within(patience: Duration, mut stranger: Stranger) -> Output {
    let output = stranger.ends_within(patience).await;
    assert!(output.status.success(), "{:?}: {}\n{}", stranger.0, output.status, stderr(&output));
    output
}

/// It exits with 1, says why on its standard error and nothing on the other.
async fn fails(mut stranger: Stranger, why: &str) {
    let output = stranger.ends_within(PATIENCE).await;
    assert_eq!(output.status.code(), Some(1), "{:?}: {}", stranger.0, stderr(&output));
    assert_eq!((stdout(&output).as_str(), stderr(&output).trim_end()), ("", why), "{:?}", stranger.0);
}

fn lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

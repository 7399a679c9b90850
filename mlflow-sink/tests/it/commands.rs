//! The commands for people, as processes of their own.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testkit::{Scratch, wait_until};
use tokio::process::{Child, Command};

use crate::pipeline::{CAUGHT_UP, Pipeline};

/// Exit code of a command that does not reach what it needs.
const UNREACHABLE: i32 = 6;

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) exit: i32,
    /// What it printed, read as JSON.
    pub(crate) rows: Vec<Value>,
    pub(crate) stderr: String,
}

impl Told {
    /// `kind run/trial` of each finding, in order, each once.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let mut kinds: Vec<String> = self
            .rows
            .iter()
            .map(|row| format!("{} {}/{}", text(row, "kind"), text(row, "run"), text(row, "trial")))
            .collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// True when every finding was repaired.
    pub(crate) fn is_repaired(&self) -> bool {
        self.rows.iter().all(|row| row["repaired"] == true)
    }
}

/// A command under way.
pub(crate) struct Begun {
    child: Child,
    _dir: Scratch,
}

impl Begun {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn told(self) -> Told {
        let output = self.child.wait_with_output().await.unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let rows: Vec<Value> =
            if stdout.is_empty() { Vec::new() } else { serde_json::from_str(&stdout).unwrap() };
        let stderr = String::from_utf8(output.stderr).unwrap();
        Told { exit: output.status.code().unwrap(), rows, stderr }
    }
}

/// Begins `mlflow-sink <command> -o json` against a broker and a server.
pub(crate) fn begin(pipeline: &Pipeline, mlflow: &str, command: &[&str]) -> Begun {
    let dir = Scratch::new();
    let child = Command::new(env!("CARGO_BIN_EXE_mlflow-sink"))
        .args(command)
        .args(["-o", "json", "--nats-url", pipeline.broker.url(), "--mlflow-url", mlflow])
        .args(["--mlflow-experiment", "unused", "--data-dir"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    Begun { child, _dir: dir }
}

/// Runs it to its end, again while it does not reach MLflow: it asks once, and a busy server may not answer in time.
pub(crate) async fn command(pipeline: &Pipeline, mlflow: &str, command: &[&str]) -> Told {
    wait_until("the command reaches MLflow", CAUGHT_UP, async || {
        let told = begin(pipeline, mlflow, command).told().await;
        let is_reached = told.exit != UNREACHABLE || !told.stderr.contains("mlflow-unusable");
        is_reached.then_some(told)
    })
    .await
}

/// MLflow is as the stream says, all of it.
pub(crate) async fn assert_clean(pipeline: &Pipeline, mlflow: &str) {
    let told = command(pipeline, mlflow, &["check"]).await;
    assert_eq!((told.rows.len(), told.exit), (0, 0), "{told:?}");
    assert!(!told.stderr.contains("not compared"), "{}", told.stderr);
}

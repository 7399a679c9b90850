//! The commands for people, as processes of their own.

use std::process::Stdio;

use serde_json::Value;
use testkit::Scratch;
use tokio::process::Command;

use crate::pipeline::Pipeline;

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

/// Runs `mlflow-sink <command> -o json` against a broker and a server.
pub(crate) async fn command(pipeline: &Pipeline, mlflow: &str, command: &[&str]) -> Told {
    let dir = Scratch::new();
    let output = Command::new(env!("CARGO_BIN_EXE_mlflow-sink"))
        .args(command)
        .args(["-o", "json", "--nats-url", pipeline.broker.url(), "--mlflow-url", mlflow])
        .args(["--mlflow-experiment", "unused", "--data-dir"])
        .arg(dir.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Value> =
        if stdout.is_empty() { Vec::new() } else { serde_json::from_str(&stdout).unwrap() };
    let stderr = String::from_utf8(output.stderr).unwrap();
    Told { exit: output.status.code().unwrap(), rows, stderr }
}

/// MLflow is as the stream says, all of it.
pub(crate) async fn assert_clean(pipeline: &Pipeline, mlflow: &str) {
    let told = command(pipeline, mlflow, &["check"]).await;
    assert_eq!((told.rows.len(), told.exit), (0, 0), "{told:?}");
    assert!(!told.stderr.contains("not compared"), "{}", told.stderr);
}

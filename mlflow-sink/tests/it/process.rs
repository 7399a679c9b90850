//! The sink as a process of its own, which can be killed and frozen.

use std::collections::BTreeMap;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schemas::{Event, RunId};
use testkit::{Mlflow, Scratch};
use tokio::process::{Child, Command};

use crate::pipeline::Pipeline;
use crate::server::{Run, Server};

/// A data directory, and the sink that uses it when there is one.
pub(crate) struct Place {
    dir: Scratch,
    child: Option<Child>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: Scratch::new(), child: None }
    }

    pub(crate) fn start(&mut self, pipeline: &Pipeline, mlflow: &str) {
        self.start_with(pipeline, mlflow, &[]);
    }

    /// The same, with variables of its own.
    pub(crate) fn start_with(&mut self, pipeline: &Pipeline, mlflow: &str, variables: &[(&str, &str)]) {
        assert!(self.child.is_none(), "one sink a directory");
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlflow-sink"));
        command
            .args([
                "serve",
                "--http=127.0.0.1:0",
                "--nats-url",
                pipeline.broker.url(),
                "--mlflow-url",
                mlflow,
            ])
            .args(["--mlflow-experiment", "unused", "--data-dir"])
            .arg(self.dir.join("data"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        self.child = Some(command.spawn().unwrap());
    }

    /// A place for files of the test's own.
    pub(crate) fn home(&self) -> std::path::PathBuf {
        self.dir.join("home")
    }

    /// SIGKILL, and waits for the end.
    pub(crate) async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.child.take().unwrap().wait().await.unwrap();
        assert!(status.success(), "{status}: {}", std::fs::read_to_string(self.dir.join("log")).unwrap());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(Child::id).unwrap();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    /// Its name in the lease, once it has one.
    pub(crate) fn name(&self) -> Option<String> {
        let said = std::fs::read_to_string(self.dir.join("data/mlflow-sink/sink-name")).ok()?;
        said.split(' ').next().map(str::to_owned)
    }

    /// True once it has seen to the broker, and with that to the lease.
    pub(crate) fn stands(&self) -> bool {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap();
        log.lines().any(|line| line.contains("component is ready") && line.contains("broker"))
    }

    /// True when it is the one that takes events.
    pub(crate) async fn leads(&self, pipeline: &Pipeline) -> bool {
        let leader = pipeline.leader().await.map(|(sink, _)| sink);
        leader.is_some() && leader == self.name()
    }
}

/// What MLflow has of these events when nothing disturbs the sink.
pub(crate) async fn undisturbed(
    mlflow: &Mlflow,
    experiment: &str,
    runs: &[(RunId, Vec<Event>)],
) -> BTreeMap<String, Run> {
    let pipeline = Pipeline::start().await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    for (run, events) in runs {
        pipeline.publish(run, events).await;
    }
    pipeline.caught_up().await;
    sink.stop().await;
    Server::at(&mlflow.url()).runs(experiment).await
}

/// Everything of the runs that follows from what the events say.
fn content(runs: BTreeMap<String, Run>) -> BTreeMap<String, Run> {
    let identities = ["mlflow.parentRunId", "cerebros.birth", "cerebros.experiment"];
    let plain = |mut run: Run| {
        run.id = String::new();
        // The end of a run has the time its event was published at, and these were published twice.
        if run.tags["cerebros.kind"] == "run" {
            run.end_time = None;
        }
        run.tags.retain(|tag, _| !identities.contains(&tag.as_str()));
        run
    };
    runs.into_iter().map(|(name, run)| (name, plain(run))).collect()
}

/// The same runs with the same content; says the first that differs.
pub(crate) fn assert_same(found: BTreeMap<String, Run>, expected: BTreeMap<String, Run>) {
    let (found, expected) = (content(found), content(expected));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, run) in found {
        assert_eq!(run, expected[&name]);
    }
}

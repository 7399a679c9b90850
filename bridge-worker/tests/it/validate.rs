//! `validate`: everything in order is ok, and what is broken is the one check that is not.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use service_kit::topology;
use testkit::Mlflow;
use tokio::process::Command;

use crate::house::House;

const NAMES: [&str; 13] = [
    "feature_flag",
    "config_enabled",
    "repo_path",
    "script_path",
    "python",
    "working_dir",
    "version",
    "cache_capacity",
    "broker",
    "streams",
    "schemas",
    "mlflow",
    "child",
];

/// A house in which every check is ok.
struct Sound {
    house: House,
    mlflow: &'static Mlflow,
}

impl Sound {
    async fn open() -> Self {
        // The check only asks MLflow who it is.
        let (house, mlflow) = (House::open().await, Mlflow::shared().await);
        let repository = house.scratch.join("repository");
        std::fs::create_dir(&repository).unwrap();
        std::fs::write(repository.join("VERSION"), "1.2.3\n").unwrap();
        std::fs::write(repository.join("bridge.py"), "").unwrap();
        Self { house, mlflow }
    }

    /// The answer with this variable changed, and these arguments.
    async fn validate(&self, change: Option<(&str, &Path)>, arguments: &[&str]) -> Output {
        let repository = self.house.scratch.join("repository");
        let mut command = Command::new(env!("CARGO_BIN_EXE_bridge-worker"));
        command
            .args(["validate", "--preload", "noop"])
            .args(arguments)
            .env("CEREBROS_ENABLED", "true")
            .env("FEATURES", "ml_nas")
            .env("NATS_URL", self.house.nats.url())
            .env("MLFLOW_TRACKING_URI", self.mlflow.url())
            .env("CEREBROS_DATA_DIR", self.house.scratch.path())
            .env("CEREBROS_PYTHON", testkit::trainer_python().await)
            .env("CEREBROS_REPO", &repository)
            .env("CEREBROS_SCRIPT", repository.join("bridge.py"))
            .envs(change)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command.output().await.unwrap()
    }

    /// The same, asked up to three times while a check is not ok that has nothing to do with `concerned`: each has a few
    /// seconds beside the start of a child, which a busy machine may take longer for. What is broken stays so.
    async fn validate_about(
        &self,
        concerned: &[&str],
        change: Option<(&str, &Path)>,
        arguments: &[&str],
    ) -> (Output, Findings) {
        let mut left = 3;
        loop {
            let output = self.validate(change, arguments).await;
            let findings = read(&output);
            let is_late = |check: &Finding| check.1 != "ok" && !concerned.contains(&check.0.as_str());
            left -= 1;
            if left == 0 || !findings.1.iter().any(is_late) {
                return (output, findings);
            }
        }
    }
}

/// Name, status and remedy of a check.
type Finding = (String, String, Option<String>);
/// How the worst of them is, and all of them.
type Findings = (String, Vec<Finding>);

fn read(output: &Output) -> Findings {
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let checks = answer["checks"].as_array().unwrap().iter().map(|check| {
        assert!(text(&check["message"]).is_some_and(|message| !message.is_empty()), "{check}");
        (text(&check["name"]).unwrap(), text(&check["status"]).unwrap(), text(&check["remedy"]))
    });
    (text(&answer["status"]).unwrap(), checks.collect())
}

#[tokio::test]
async fn what_is_broken_is_the_one_check_that_is_not_ok_and_has_its_remedy() {
    let sound = Sound::open().await;
    let (output, (status, checks)) = sound.validate_about(&[], None, &["--json"]).await;
    assert_eq!(checks.iter().map(|check| check.0.as_str()).collect::<Vec<_>>(), NAMES);
    assert!(checks.iter().all(|check| check.1 == "ok" && check.2.is_none()), "{checks:?}");
    assert_eq!((status.as_str(), output.status.code()), ("ok", Some(0)));

    let empty = sound.house.scratch.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let nowhere = sound.house.scratch.join("nowhere");
    let text = Path::new;
    // What broke, how, how it then is, what the remedy names, and what cannot be looked at without it.
    type Break<'a> = (&'a str, (&'a str, &'a Path), &'a str, &'a str, &'a [&'a str]);
    let breaks: [Break<'_>; 14] = [
        ("feature_flag", ("FEATURES", text("other")), "error", "FEATURES=ml_nas", &[]),
        ("config_enabled", ("CEREBROS_ENABLED", text("false")), "warning", "CEREBROS_ENABLED=true", &[]),
        ("config_enabled", ("CEREBROS_ENABLED", text("perhaps")), "error", "use true", &[]),
        ("broker", ("NATS_URL", text("http://b")), "error", "nats://", &["streams", "schemas"]),
        ("repo_path", ("CEREBROS_REPO", &nowhere), "error", "CEREBROS_REPO", &[]),
        ("script_path", ("CEREBROS_SCRIPT", &nowhere), "error", "CEREBROS_SCRIPT", &[]),
        ("script_path", ("CEREBROS_SCRIPT", &empty), "warning", "CEREBROS_SCRIPT", &[]),
        ("python", ("CEREBROS_PYTHON", &nowhere), "error", "CEREBROS_PYTHON", &["child"]),
        ("working_dir", ("CEREBROS_WORKDIR", &nowhere), "warning", "CEREBROS_WORKDIR", &[]),
        ("version", ("CEREBROS_REPO", &empty), "warning", "VERSION", &[]),
        ("cache_capacity", ("CEREBROS_CACHE_MAX_ENTRIES", text("0")), "warning", "MAX_ENTRIES", &[]),
        ("broker", ("NATS_URL", text("nats://127.0.0.1:1")), "error", "cerebros up", &["streams", "schemas"]),
        ("mlflow", ("MLFLOW_TRACKING_URI", text("http://127.0.0.1:1")), "error", "MLFLOW_TRACKING_URI", &[]),
        ("mlflow", ("MLFLOW_TRACKING_URI", text("sqlite:///x")), "error", "MLFLOW_TRACKING_URI", &[]),
    ];
    for (name, change, expected, remedy, dependent) in breaks {
        let concerned = [&[name], dependent].concat();
        let (output, (status, checks)) = sound.validate_about(&concerned, Some(change), &["--json"]).await;
        assert_eq!(status, expected, "{name}: {checks:?}");
        assert_eq!(output.status.code(), Some(if expected == "error" { 9 } else { 0 }), "{name}");
        for (other, status, help) in checks {
            if other == name {
                assert_eq!(status, expected);
                assert!(help.as_ref().is_some_and(|help| help.contains(remedy)), "{name}: {help:?}");
            } else if dependent.contains(&other.as_str()) {
                assert_eq!(status, "warning", "what could not be checked has not passed: {other}");
            } else {
                assert_eq!(status, "ok", "{other} broke with {name}: {help:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_child_that_cannot_start_and_a_broker_without_our_things_are_named() {
    let sound = Sound::open().await;
    let statuses = async |name: &str, arguments: &[&str]| {
        let arguments = [&["-o", "json"], arguments].concat();
        let (_, (_, checks)) = sound.validate_about(&[name], None, &arguments).await;
        checks.into_iter().filter(|check| check.1 != "ok").map(|check| (check.0, check.1)).collect::<Vec<_>>()
    };
    let only = |name: &str, status: &str| vec![(name.to_owned(), status.to_owned())];
    assert_eq!(statuses("child", &["--preload", "no_such_trainer"]).await, only("child", "error"));

    let jetstream = &sound.house.broker.jetstream;
    let schemas = jetstream.get_key_value(topology::SCHEMAS_BUCKET).await.unwrap();
    let before = schemas.get("RunFailed").await.unwrap().unwrap();
    schemas.put("RunFailed", r#"{"1":"0123456789abcdef"}"#.into()).await.unwrap();
    assert_eq!(statuses("schemas", &[]).await, only("schemas", "error"));
    schemas.put("RunFailed", before).await.unwrap();

    jetstream.delete_key_value(topology::RUNS_BUCKET).await.unwrap();
    assert_eq!(statuses("streams", &[]).await, only("streams", "warning"));
}

#[tokio::test]
async fn what_cannot_be_understood_is_a_line_of_the_report_for_people_too() {
    let sound = Sound::open().await;
    for (name, change) in [
        ("config_enabled", ("CEREBROS_ENABLED", Path::new("perhaps"))),
        ("broker", ("NATS_CONTEXT", Path::new("/nowhere.json"))),
    ] {
        let output = sound.validate(Some(change), &[]).await;
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(9), "{name}: {told}");
        let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("error")).collect();
        assert!(lines.len() == 1 && lines[0].contains(name), "{told}");
        assert!(told.contains("ok       child"), "what does not depend on it is looked at: {told}");
    }
}

#[tokio::test]
async fn a_shut_gate_is_an_error_for_whoever_requires_it_open() {
    let sound = Sound::open().await;
    let shut = ("CEREBROS_ENABLED", Path::new("false"));
    let required = sound.validate(Some(shut), &["--require-enabled"]).await;
    assert_eq!(required.status.code(), Some(9));
    let told = String::from_utf8(required.stdout).unwrap();
    let line = told.lines().find(|line| line.contains("config_enabled")).unwrap();
    assert!(line.starts_with("error"), "{told}");
    assert!(told.contains("help: set CEREBROS_ENABLED=true"), "{told}");
    assert_eq!(sound.validate(Some(shut), &[]).await.status.code(), Some(0));
}

//! `up`: truthful readiness, ports that never hurt, a total stop.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::history::History;
use testkit::{processes, wait_until};

use crate::program::{DataDir, READY, Up, output, stderr, stdout};

/// A request as another language would publish it.
const BARE_REQUEST: &str = r#"{"dataset_id": "digits", "budget": {"max_trials": 3}}"#;
/// After `kill -9` of the parent: the guards' five seconds, and what a busy system takes to bury them.
const ORPHANS_GONE: Duration = Duration::from_secs(15);

async fn broker(data_dir: &DataDir) -> Broker {
    let url = data_dir.endpoints().unwrap()["nats"].as_str().unwrap().to_owned();
    Broker::connect(&BrokerTarget::at(&url).unwrap(), "test", Duration::from_secs(5)).await.unwrap()
}

/// Waits for an event on a subject and gives its payload.
async fn event_on(broker: &Broker, subject: &str) -> Value {
    let read = async {
        let mut history = History::following(broker, "CEREBROS", &[subject], 1).await.unwrap();
        history.next().await.unwrap().unwrap()
    };
    let kept = tokio::time::timeout(READY, read).await.unwrap_or_else(|_| panic!("nothing on {subject}"));
    serde_json::from_slice(&kept.payload).unwrap()
}

#[tokio::test]
async fn a_stack_serves_a_bare_request_and_ends_without_a_trace() {
    let data_dir = DataDir::new().await;
    let mut up = Up::ready(&data_dir, &["--slots", "2"]).await;
    let endpoints = data_dir.endpoints().unwrap();
    for name in ["mlflow", "nats"] {
        assert!(up.printed().contains(endpoints[name].as_str().unwrap()), "{}", up.printed());
    }

    let again = output(data_dir.program(&["up"])).await;
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert_eq!(stdout(&again), up.printed(), "a second up prints the block of the first");

    let doctor = output(data_dir.program(&["doctor", "--json"])).await;
    let answer: Value = serde_json::from_str(&stdout(&doctor)).unwrap();
    for check in answer["checks"].as_array().unwrap() {
        // Somebody else on this machine may have the default ports.
        assert!(check["status"] == "ok" || check["name"] == "ports", "{check}");
    }

    let broker = broker(&data_dir).await;
    broker.client.publish("cerebros.nas.run.requested", BARE_REQUEST.into()).await.unwrap();
    let completed = event_on(&broker, "cerebros.nas.run.completed").await;
    assert_eq!(completed["completed_trials"], 3, "{completed}");
    let first = event_on(&broker, "cerebros.nas.run.started").await;
    assert_eq!(first["run_id"], completed["run_id"]);

    let started = up.processes();
    assert!(started.len() > 8, "broker, MLflow, three services and their guards: {started:?}");
    up.signal(Signal::SIGTERM);
    assert_eq!(up.ended().await.code(), Some(0), "{}", up.said());
    assert!(started.iter().all(|pid| !processes::alive(*pid)), "nothing is left when up has ended");
    assert_eq!(data_dir.endpoints(), None);
}

#[tokio::test]
async fn a_killed_stack_leaves_nothing_and_the_next_one_starts() {
    let data_dir = DataDir::new().await;
    let mut up = Up::ready(&data_dir, &["--no-mlflow"]).await;
    let orphans = up.processes();
    up.signal(Signal::SIGKILL);
    up.ended().await;
    processes::wait_until_gone("everything the killed stack had started", &orphans, ORPHANS_GONE).await;
    let mut next = Up::ready(&data_dir, &["--no-mlflow"]).await;
    next.signal(Signal::SIGTERM);
    assert_eq!(next.ended().await.code(), Some(0), "{}", next.said());
}

#[tokio::test]
async fn a_service_that_dies_is_said_and_started_again() {
    let data_dir = DataDir::new().await;
    let mut up = Up::ready(&data_dir, &["--no-mlflow"]).await;
    let is_classifier = |pid: &u32| {
        let ps = Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid.to_string()]).output().unwrap();
        // The guard's command line ends in the same words, but begins with the shell.
        String::from_utf8_lossy(&ps.stdout)
            .starts_with(&format!("{} classifier serve", env!("CARGO_BIN_EXE_cerebros")))
    };
    let classifier = up.processes().into_iter().find(is_classifier).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(classifier).unwrap()), Signal::SIGKILL)
        .unwrap();
    wait_until("the classifier is ready again", READY, async || {
        up.said().contains("classifier is ready again").then_some(())
    })
    .await;
    assert!(up.said().contains("classifier ended (killed by signal 9)"), "{}", up.said());
    let next = up.processes().into_iter().find(is_classifier);
    assert!(next.is_some_and(|next| next != classifier));
    up.signal(Signal::SIGINT);
    assert_eq!(up.ended().await.code(), Some(0), "{}", up.said());
}

#[tokio::test]
async fn a_busy_port_that_was_asked_for_is_refused_before_anything_starts() {
    let data_dir = DataDir::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for flag in ["--nats-port", "--mlflow-port", "--http-port-base"] {
        let refused = output(data_dir.program(&["up", flag, &port])).await;
        assert_eq!(refused.status.code(), Some(7), "{}", stderr(&refused));
        let said = stderr(&refused);
        assert!(said.contains(&port) && said.contains(flag), "{said}");
        assert!(!data_dir.path().join("logs").exists(), "nothing was started");
    }
}

#[tokio::test]
async fn a_program_that_does_not_start_fails_the_start_with_its_last_words() {
    let data_dir = DataDir::new().await;
    let tools = data_dir.path().join("tools");
    std::fs::remove_file(&tools).unwrap();
    std::fs::create_dir(&tools).unwrap();
    for entry in std::fs::read_dir(testkit::tools().dir()).unwrap().flatten() {
        let (name, place) = (entry.file_name(), tools.join(entry.file_name()));
        if name.to_string_lossy().starts_with("mlflow-") {
            std::fs::create_dir_all(place.join("bin")).unwrap();
            std::fs::write(place.join(".complete"), "").unwrap();
            let python = place.join("bin/python");
            std::fs::write(&python, "#!/bin/sh\necho these are my last words\nexit 3\n").unwrap();
            std::fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
        } else {
            symlink(entry.path(), place).unwrap();
        }
    }
    let mut up = Up::start(&data_dir, &[]);
    assert_eq!(up.ended_by_itself().await.code(), Some(6), "{}", up.said());
    assert!(up.said().contains("these are my last words"), "{}", up.said());
    assert_eq!((up.printed(), data_dir.endpoints()), (String::new(), None), "no false success");
}

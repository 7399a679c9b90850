//! A real MLflow server.

use std::time::Duration;

use local_stack::ports::PortChoice;
use local_stack::process::descendants;
use local_stack::readiness::{StartError, answers_ok};
use local_stack::{Mlflow, MlflowConfig};
use testkit::{Scratch, mlflow_python, processes, wait_until};

use crate::script::script;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_started_server_answers_keeps_its_data_in_one_place_and_leaves_no_process() {
    let dir = Scratch::new();
    let config = MlflowConfig::new(mlflow_python().await, dir.join("my data"), dir.join("mlflow.log"));
    let server = Mlflow::start(config).await.unwrap();
    for path in ["/health", "/version"] {
        wait_until(path, SOON, async || answers_ok(server.port(), path).await.then_some(())).await;
    }
    assert!(dir.join("my data").join("mlflow.db").exists());
    let mut tree = descendants(server.pid());
    tree.push(server.pid());
    drop(server);
    processes::wait_until_gone("MLflow", &tree, SOON).await;
}

#[tokio::test]
async fn a_server_that_loses_its_port_tries_another_one_before_it_gives_up() {
    let dir = Scratch::new();
    let count = dir.join("count");
    let body = format!("echo x >> {}; echo '[Errno 98] Address already in use'; exit 1", count.display());
    let python = script(&dir, "python", &body);
    let config = MlflowConfig::new(python, dir.join("mlflow"), dir.join("mlflow.log"));
    let error = Mlflow::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Ended { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(count).unwrap().lines().count(), 5);
}

#[tokio::test]
async fn a_busy_port_that_was_asked_for_is_an_error_before_anything_starts() {
    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    let dir = Scratch::new();
    let mut config = MlflowConfig::new("/absent/python", dir.join("mlflow"), dir.join("mlflow.log"));
    config.port = PortChoice::Exactly(port);
    let error = Mlflow::start(config).await.unwrap_err();
    assert!(error.because().unwrap().contains(&port.to_string()), "{error:?}");
}

//! The files of the best model lie with its trial and with the run.

use async_nats::jetstream::object_store::ObjectMetadata;
use schemas::event::{ArtifactRef, RunCompleted};
use schemas::{Event, RunId};
use service_kit::topology::ARTIFACTS_BUCKET;
use sha2::{Digest as _, Sha256};
use testkit::{Mlflow, experiment_name};

use crate::commands::assert_clean;
use crate::events::{run, search};
use crate::pipeline::Pipeline;
use crate::server::Server;

/// Puts a file into the object store and gives the reference to it.
async fn kept(pipeline: &Pipeline, object: &str, content: &[u8]) -> ArtifactRef {
    let store = pipeline.broker.jetstream.get_object_store(ARTIFACTS_BUCKET).await.unwrap();
    let metadata = ObjectMetadata { name: object.to_owned(), ..ObjectMetadata::default() };
    store.put(metadata, &mut &content[..]).await.unwrap();
    let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    ArtifactRef {
        uri: format!("nats://{ARTIFACTS_BUCKET}/{object}"),
        checksum: Some(format!("sha256:{digest}")),
        bytes: i64::try_from(content.len()).ok(),
        media_type: None,
    }
}

fn with_files(run: &RunId, experiment: &str, files: Vec<ArtifactRef>) -> Vec<Event> {
    let mut events = search(run, experiment, 2);
    let Some(Event::RunCompleted(completed)) = events.pop() else { panic!("an end") };
    events.push(RunCompleted { artifact_refs: files, ..completed }.into());
    events
}

#[tokio::test]
async fn the_best_model_s_file_is_an_artefact_of_its_trial_and_of_the_run_and_stays_one() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("model"), run("model"));
    let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let file = kept(&pipeline, "model/model-t00001/weights.bin", &content).await;
    pipeline.publish(&run, &with_files(&run, &experiment, vec![file.clone()])).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;

    let server = Server::at(&mlflow.url());
    let runs = server.runs(&experiment).await;
    for name in ["model", "trial-00001"] {
        let found = server.artifact(&runs[name].id, &experiment, "model/weights.bin").await;
        assert!(found.is_some_and(|found| found == content), "{name}");
        let sha256 = &runs[name].tags["cerebros.model.sha256.weights.bin"];
        assert_eq!(Some(format!("sha256:{sha256}")), file.checksum);
    }
    assert_eq!(server.artifact(&runs["trial-00000"].id, &experiment, "model/weights.bin").await, None);

    let before = server.run_set(&experiment).await;
    pipeline.forget_the_position().await;
    pipeline.delete_the_ledger();
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    assert_eq!(server.run_set(&experiment).await, before);
}

#[tokio::test]
async fn a_file_that_is_not_what_was_announced_or_not_there_is_said_and_the_run_ends_all_the_same() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let server = Server::at(&mlflow.url());
    let (forged, missing) = (experiment_name("forged"), experiment_name("missing"));
    let mut file = kept(&pipeline, "forged/x/weights.bin", &[7; 300_000]).await;
    file.checksum = Some(format!("sha256:{}", "0".repeat(64)));
    let gone =
        ArtifactRef { uri: format!("nats://{ARTIFACTS_BUCKET}/missing/x/weights.bin"), ..file.clone() };
    for (experiment, file) in [(&forged, file), (&missing, gone)] {
        let run = run(experiment);
        pipeline.publish(&run, &with_files(&run, experiment, vec![file])).await;
    }
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url()).await;
    for (experiment, reason) in [(&forged, "not what was announced"), (&missing, "object store")] {
        let runs = server.runs(experiment).await;
        let parent = &runs[experiment.as_str()];
        assert_eq!(parent.status, "FINISHED");
        assert!(parent.tags["cerebros.model.not_uploaded"].contains(reason), "{:?}", parent.tags);
        assert_eq!(server.artifact(&parent.id, experiment, "model/weights.bin").await, None);
    }
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

/// A server that was told to take no files, although its runs say that it keeps them.
struct TakesNoFiles {
    process: tokio::process::Child,
    url: String,
    _dir: testkit::Scratch,
}

impl TakesNoFiles {
    async fn start() -> Self {
        let dir = testkit::Scratch::new();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = tokio::process::Command::new(testkit::mlflow_python().await)
            .args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--no-serve-artifacts"])
            .args(["--default-artifact-root", "mlflow-artifacts:/", "--port", &port.to_string()])
            .args(["--backend-store-uri", &format!("sqlite:///{}", dir.join("mlflow.db").display())])
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .current_dir(dir.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let server = Self { process, url: format!("http://127.0.0.1:{port}"), _dir: dir };
        testkit::wait_until("the server answers", crate::pipeline::CAUGHT_UP, async || {
            reqwest::get(format!("{}/health", server.url)).await.ok()?.status().is_success().then_some(())
        })
        .await;
        server
    }
}

impl Drop for TakesNoFiles {
    fn drop(&mut self) {
        // The server proper is a child of it.
        if let Some(group) = self.process.id() {
            let killed = std::process::Command::new("kill").args(["-9", "--", &format!("-{group}")]).status();
            assert!(killed.is_ok_and(|status| status.success()), "the server is ended");
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_no_files_is_no_outage() {
    let (pipeline, mlflow) = (Pipeline::start().await, TakesNoFiles::start().await);
    let (experiment, run) = (experiment_name("no-files"), run("no-files"));
    let file = kept(&pipeline, "no-files/x/weights.bin", b"weights").await;
    pipeline.publish(&run, &with_files(&run, &experiment, vec![file])).await;
    let sink = pipeline.sink(&mlflow.url, "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url).await;
    let runs = Server::at(&mlflow.url).runs(&experiment).await;
    let parent = &runs["no-files"];
    assert_eq!(parent.status, "FINISHED");
    assert!(parent.tags["cerebros.model.not_uploaded"].contains("503"), "{:?}", parent.tags);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

//! The files of the best model lie with its trial and with the run.

use async_nats::jetstream::object_store::ObjectMetadata;
use schemas::event::{ArtifactRef, RunCompleted};
use schemas::{Event, RunId};
use serde_json::{Value, json};
use service_kit::topology::ARTIFACTS_BUCKET;
use sha2::{Digest as _, Sha256};
use testkit::{HttpFault, HttpProxy, Mlflow, Rule, experiment_name, wait_until};

use crate::commands::assert_clean;
use crate::events::{run, search};
use crate::own::Own;
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::server::Server;

/// Puts a file into the object store and gives the reference to it.
pub(crate) async fn kept(pipeline: &Pipeline, object: &str, content: &[u8]) -> ArtifactRef {
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

pub(crate) fn with_files(run: &RunId, experiment: &str, files: Vec<ArtifactRef>) -> Vec<Event> {
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
        assert!(parent.tags["cerebros.model.not_uploaded.weights.bin"].contains(reason), "{:?}", parent.tags);
        assert_eq!(server.artifact(&parent.id, experiment, "model/weights.bin").await, None);
    }
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn each_file_that_is_not_there_has_a_reason_of_its_own_until_it_comes() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("later"), run("later"));
    let there = kept(&pipeline, "later/x/weights.bin", b"weights").await;
    let elsewhere = ArtifactRef { uri: "s3://bucket/other.bin".to_owned(), ..there.clone() };
    let store = pipeline.broker.jetstream.get_object_store(ARTIFACTS_BUCKET).await.unwrap();
    store.delete("later/x/weights.bin").await.unwrap();
    pipeline.publish(&run, &with_files(&run, &experiment, vec![there, elsewhere])).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    let server = Server::at(&mlflow.url());
    let reasons = async || {
        let tags = server.runs(&experiment).await["later"].tags.clone();
        let reasons = tags.into_keys().filter(|tag| tag.starts_with("cerebros.model."));
        reasons.map(|tag| tag.replace("cerebros.model.", "")).collect::<Vec<_>>()
    };
    assert_eq!(reasons().await, ["not_uploaded.other.bin", "not_uploaded.weights.bin"]);

    kept(&pipeline, "later/x/weights.bin", b"weights").await;
    pipeline.forget_the_position().await;
    pipeline.delete_the_ledger();
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_eq!(reasons().await, ["not_uploaded.other.bin", "sha256.weights.bin"]);
    assert_clean(&pipeline, &mlflow.url()).await;
}

#[tokio::test]
async fn a_file_whose_way_is_cut_in_the_middle_is_sent_once_more() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("torn"), run("torn-file"));
    let file = kept(&pipeline, "torn/x/weights.bin", b"weights").await;
    pipeline.publish(&run, &with_files(&run, &experiment, vec![file])).await;
    let proxy = HttpProxy::start(&mlflow.url()).await;
    proxy.set([Rule::on("/artifacts/model/weights.bin", HttpFault::Hangs).times(1)]);
    let sink = pipeline.sink(&proxy.url(), "unused");
    wait_until("the file is on its way", CAUGHT_UP, async || {
        proxy.seen().iter().any(|seen| seen.is_faulty).then_some(())
    })
    .await;
    // The connection ends without an answer.
    proxy.set([]);
    pipeline.caught_up().await;
    sink.stop().await;
    let server = Server::at(&mlflow.url());
    let parent = &server.runs(&experiment).await["torn-file"];
    let found = server.artifact(&parent.id, &experiment, "model/weights.bin").await;
    assert_eq!(found.as_deref(), Some(&b"weights"[..]), "{:?}", parent.tags);
    assert!(!parent.tags.keys().any(|tag| tag.contains("not_uploaded")), "{:?}", parent.tags);
}

/// The one logged model of an experiment, whole: its file, its description, and the runs that made it.
async fn the_logged_model(server: &Server, experiment: &str, content: &[u8]) -> Value {
    let mut models = server.models(experiment).await;
    assert_eq!(models.len(), 1, "{models:?}");
    let info = models.remove(0)["info"].take();
    assert_eq!(info["status"], "LOGGED_MODEL_READY", "{info}");
    let (id, root) = (info["model_id"].as_str().unwrap(), info["artifact_uri"].as_str().unwrap());
    let root = root.strip_prefix("mlflow-artifacts:/").unwrap();
    let file = server.kept(&format!("{root}/model/weights.bin")).await;
    assert!(file.is_some_and(|file| file == content));
    let description = server.kept(&format!("{root}/MLmodel")).await.unwrap();
    let description: Value = serde_json::from_slice(&description).unwrap();
    assert_eq!(description["model_id"], id);
    let runs = server.raw(experiment).await;
    for (name, run) in &runs {
        let outputs = run["outputs"]["model_outputs"].as_array().cloned().unwrap_or_default();
        let made_it = ["logged", "trial-00001"].contains(&name.as_str());
        assert_eq!(outputs, if made_it { vec![json!({"model_id": id, "step": 0})] } else { Vec::new() });
        assert_eq!(run["data"]["tags"].to_string().contains(id), made_it, "{name}");
    }
    assert_eq!(info["source_run_id"], runs["trial-00001"]["info"]["run_id"]);
    info
}

#[tokio::test]
async fn the_best_model_is_one_logged_model_also_when_everything_is_told_again() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("logged"), run("logged"));
    let file = kept(&pipeline, "logged/logged-t00001/weights.bin", b"weights").await;
    pipeline.publish(&run, &with_files(&run, &experiment, vec![file])).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    let server = Server::at(&mlflow.url());
    let before = the_logged_model(&server, &experiment, b"weights").await;
    assert_eq!((&before["name"], &before["model_type"]), (&"logged".into(), &"cerebros".into()));

    pipeline.forget_the_position().await;
    pipeline.delete_the_ledger();
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert_eq!(the_logged_model(&server, &experiment, b"weights").await, before);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_logged_model_whose_making_is_disturbed_at_every_step_is_one_and_whole() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("disturbed"), run("logged"));
    let file = kept(&pipeline, "disturbed/x/weights.bin", b"weights").await;
    pipeline.publish(&run, &with_files(&run, &experiment, vec![file])).await;
    let proxy = HttpProxy::start(&mlflow.url()).await;
    let lost = |path| Rule::on(path, HttpFault::SaysAfterwards(503)).times(1);
    // The question whether there are any goes through, and the creation is carried out without an answer.
    proxy.set([
        lost("mlflow/logged-models").after(1),
        Rule::on("/artifacts/model/weights.bin", HttpFault::says(503, "")).after(2).times(1),
        lost("runs/outputs"),
        lost("logged-models/m-").after(4),
    ]);
    let sink = pipeline.sink(&proxy.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    let faulty: Vec<String> =
        proxy.seen().into_iter().filter(|seen| seen.is_faulty).map(|seen| seen.path).collect();
    assert_eq!(faulty.len(), 4, "{faulty:?}");
    the_logged_model(&Server::at(&mlflow.url()), &experiment, b"weights").await;
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_without_logged_models_has_the_files_all_the_same() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared_2().await);
    let (experiment, run) = (experiment_name("version-2"), run("version-2"));
    let file = kept(&pipeline, "version-2/x/weights.bin", b"weights").await;
    pipeline.publish(&run, &with_files(&run, &experiment, vec![file])).await;
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    let server = Server::at(&mlflow.url());
    let runs = server.runs(&experiment).await;
    for name in ["version-2", "trial-00001"] {
        let found = server.artifact(&runs[name].id, &experiment, "model/weights.bin").await;
        assert_eq!(found.as_deref(), Some(&b"weights"[..]), "{name}");
        assert_eq!(runs[name].status, "FINISHED");
        assert!(!runs[name].tags.contains_key("cerebros.logged_model"));
    }
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_whose_place_lies_outside_the_server_is_brought_there_by_it_unless_it_is_too_large() {
    for mlflow in [Mlflow::shared().await, Mlflow::shared_2().await] {
        let (pipeline, server) = (Pipeline::start().await, Server::at(&mlflow.url()));
        let (experiment, run, outside) =
            (experiment_name("outside"), run("outside"), testkit::Scratch::new());
        server.create_experiment_at(&experiment, &format!("file://{}", outside.path().display())).await;
        let small = kept(&pipeline, "outside/x/small.bin", b"weights").await;
        let large = kept(&pipeline, "outside/x/large.bin", &vec![7; (10 << 20) + 1]).await;
        pipeline.publish(&run, &with_files(&run, &experiment, vec![small, large])).await;
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        let runs = server.runs(&experiment).await;
        for name in ["outside", "trial-00001"] {
            let run = &runs[name];
            let file = outside.join(&run.id).join("artifacts/model/small.bin");
            assert_eq!(std::fs::read(file).unwrap(), b"weights", "{name}");
            assert!(run.tags.contains_key("cerebros.model.sha256.small.bin"), "{:?}", run.tags);
            let reason = &run.tags["cerebros.model.not_uploaded.large.bin"];
            assert!(reason.contains("large.bin") && reason.contains("10485760 bytes"), "{reason}");
        }
        assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_server_that_takes_no_files_is_no_outage() {
    let (pipeline, mlflow) = (Pipeline::start().await, Own::that_takes_no_files().await);
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
    assert!(parent.tags["cerebros.model.not_uploaded.weights.bin"].contains("503"), "{:?}", parent.tags);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

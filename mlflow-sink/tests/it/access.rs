//! A server behind TLS: whom we believe, and who we are.

use testkit::{Clients, Mlflow, TlsFront, experiment_name, wait_until};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use testkit::{HttpFault, HttpProxy, Rule};

use crate::events::{run, search};
use crate::own::Own;
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::process::Place;
use crate::server::Server;

/// A sink that writes a search through TLS with these flags.
async fn writes(name: &str, clients: Clients, flags: impl Fn(&TlsFront) -> Vec<String>) {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (front, experiment) = (TlsFront::start(&mlflow.url(), clients).await, experiment_name(name));
    pipeline.publish(&run(name), &search(&run(name), &experiment, 2)).await;
    let flags = flags(&front);
    let flags: Vec<&str> =
        ["--http=127.0.0.1:0"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let sink = pipeline.sink_with(&front.url(), &flags);
    pipeline.caught_up().await;
    sink.stop().await;
    assert_eq!(Server::at(&mlflow.url()).runs(&experiment).await.len(), 3);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

/// A sink that cannot write with these flags waits, and says this.
async fn waits(name: &str, clients: Clients, flags: impl Fn(&TlsFront) -> Vec<String>, remedy: &str) {
    let mlflow = Mlflow::shared().await;
    let front = TlsFront::start(&mlflow.url(), clients).await;
    let flags = flags(&front);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    waits_at(&front.url(), name, "never", &flags, remedy).await;
}

/// The same at any address.
async fn waits_at(url: &str, name: &str, experiment: &str, flags: &[&str], remedy: &str) {
    let pipeline = Pipeline::start().await;
    pipeline.publish(&run(name), &search(&run(name), experiment, 1)).await;
    let waiting = pipeline.unsettled().await;
    let (sink, pages) = pipeline.sink_with_pages(url, flags);
    wait_until("the sink says what is wrong, with its remedy", CAUGHT_UP, async || {
        let said = pages.health().await?["components"].to_string();
        said.contains(remedy).then_some(())
    })
    .await;
    sink.stop().await;
    assert_eq!(pipeline.unsettled().await, waiting);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

fn path(path: std::path::PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

fn with_authority(front: &TlsFront) -> Vec<String> {
    vec!["--mlflow-ca".to_owned(), path(front.authority())]
}

#[tokio::test]
async fn a_server_is_believed_whose_certificate_the_named_authority_signed() {
    writes("authority", Clients::Anybody, with_authority).await;
}

#[tokio::test]
async fn a_directory_of_authorities_will_do() {
    let directory = testkit::Scratch::new();
    writes("directory", Clients::Anybody, |front| {
        std::fs::copy(front.authority(), directory.join("authority.pem")).unwrap();
        vec!["--mlflow-ca".to_owned(), path(directory.path().to_owned())]
    })
    .await;
}

#[tokio::test]
async fn a_server_that_wants_to_know_us_is_shown_our_certificate() {
    writes("certified", Clients::Certified, |front| {
        let own = ["--mlflow-cert".to_owned(), path(front.client())];
        with_authority(front).into_iter().chain(own).collect()
    })
    .await;
}

#[tokio::test]
async fn whoever_answers_is_believed_when_that_is_asked_for() {
    writes("insecure", Clients::Anybody, |_| vec!["--mlflow-insecure-tls".to_owned()]).await;
}

#[tokio::test]
async fn a_server_nobody_vouches_for_is_waited_for_with_the_remedy() {
    let other = TlsFront::start("http://127.0.0.1:9", Clients::Anybody).await;
    waits("stranger", Clients::Anybody, |_| with_authority(&other), "MLFLOW_TRACKING_SERVER_CERT_PATH").await;
}

#[tokio::test]
async fn a_server_that_does_not_get_our_certificate_is_waited_for_with_the_remedy() {
    waits("uncertified", Clients::Certified, with_authority, "MLFLOW_TRACKING_CLIENT_CERT_PATH").await;
}

#[tokio::test]
async fn user_and_password_come_from_mlflow_s_own_file_where_the_environment_does_not_say_them() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (proxy, experiment) = (HttpProxy::start(&mlflow.url()).await, experiment_name("kept"));
    let mut place = Place::new();
    std::fs::create_dir_all(place.home().join(".mlflow")).unwrap();
    let file = "[mlflow]\nmlflow_tracking_username = nobody\nmlflow_tracking_password = s%%cret\n";
    std::fs::write(place.home().join(".mlflow/credentials"), file).unwrap();
    let home = path(place.home());
    place.start_with(&pipeline, &proxy.url(), &[("HOME", &home), ("MLFLOW_TRACKING_USERNAME", "me")]);
    pipeline.publish(&run("kept"), &search(&run("kept"), &experiment, 1)).await;
    pipeline.caught_up().await;
    place.stop().await;
    let header = format!("authorization: Basic {}", BASE64_STANDARD.encode("me:s%cret"));
    let seen = proxy.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.head.contains(&header)), "{seen:?}");
}

#[tokio::test]
async fn a_workspace_has_the_runs_and_their_files() {
    let (pipeline, mlflow) = (Pipeline::start().await, Own::with_workspaces().await);
    let server = Server::in_new_workspace(&mlflow.url, "team-a").await;
    let run = run("inside");
    let file = crate::model::kept(&pipeline, "inside/x/weights.bin", b"weights").await;
    pipeline.publish(&run, &crate::model::with_files(&run, "inside", vec![file])).await;
    let sink = pipeline.sink_with(&mlflow.url, &["--http=127.0.0.1:0", "--mlflow-workspace", "team-a"]);
    pipeline.caught_up().await;
    sink.stop().await;
    let runs = server.runs("inside").await;
    assert_eq!((runs.len(), runs["inside"].status.as_str()), (3, "FINISHED"));
    let found = server.artifact(&runs["inside"].id, "inside", "model/weights.bin").await;
    assert_eq!(found.as_deref(), Some(&b"weights"[..]));
    assert_eq!(server.models("inside").await.len(), 1);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    waits_at(&mlflow.url, "nowhere", "never", &["--mlflow-workspace", "team-b"], "MLFLOW_WORKSPACE").await;
}

#[tokio::test]
async fn a_server_without_workspaces_is_waited_for_with_the_remedy() {
    let url = Mlflow::shared().await.url();
    waits_at(&url, "no-workspaces", "never", &["--mlflow-workspace", "team-a"], "MLFLOW_WORKSPACE").await;
}

#[tokio::test]
async fn runs_that_name_no_experiment_go_to_the_one_with_the_given_id() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (server, experiment) = (Server::at(&mlflow.url()), experiment_name("by-id"));
    server.create_experiment(&experiment).await;
    let id = server.experiment(&experiment).await;
    pipeline.publish(&run("by-id"), &search(&run("by-id"), "", 1)).await;
    let sink = pipeline.sink_with(&mlflow.url(), &["--http=127.0.0.1:0", "--mlflow-experiment-id", &id]);
    pipeline.caught_up().await;
    sink.stop().await;
    assert_eq!(server.runs(&experiment).await.len(), 2);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_user_who_may_not_see_the_server_s_first_experiment_writes_all_the_same() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (proxy, experiment) = (HttpProxy::start(&mlflow.url()).await, experiment_name("least"));
    let denied = HttpFault::says(403, "Permission denied");
    proxy.set([Rule::on("experiments/get?experiment_id=0", denied)]);
    pipeline.publish(&run("least"), &search(&run("least"), &experiment, 1)).await;
    let sink = pipeline.sink(&proxy.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    assert!(proxy.seen().iter().any(|seen| seen.is_faulty));
    assert_eq!(Server::at(&mlflow.url()).runs(&experiment).await.len(), 2);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_id_that_is_no_experiment_s_or_not_that_of_the_name_is_waited_for_with_the_remedy() {
    let url = Mlflow::shared().await.url();
    let remedy = "MLFLOW_EXPERIMENT_ID";
    waits_at(&url, "unknown", "", &["--mlflow-experiment-id", "987654321"], remedy).await;
    let both = ["--mlflow-experiment-id", "987654321", "--mlflow-experiment", "contradiction"];
    waits_at(&url, "contradiction", "", &both, remedy).await;
}

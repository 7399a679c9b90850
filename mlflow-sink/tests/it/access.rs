//! A server behind TLS: whom we believe, and who we are.

use testkit::{Clients, Mlflow, TlsFront, experiment_name, wait_until};

use crate::events::{run, search};
use crate::pipeline::{CAUGHT_UP, Pipeline};
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
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let front = TlsFront::start(&mlflow.url(), clients).await;
    pipeline.publish(&run(name), &search(&run(name), "never", 1)).await;
    let waiting = pipeline.unsettled().await;
    let flags = flags(&front);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (sink, pages) = pipeline.sink_with_pages(&front.url(), &flags);
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

//! What a check says about an MLflow that does not work, and what to do about it.

use clap::Parser as _;
use service_kit::check::{self, Check, Status};
use service_kit::mlflow::ServerArgs;
use testkit::{Clients, HttpFault, HttpProxy, Rule, Scratch, TlsFront};

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    mlflow: ServerArgs,
}

async fn checked(flags: &[&str]) -> Check {
    let args = Flags::try_parse_from(["check"].iter().chain(flags)).unwrap().mlflow;
    check::mlflow::check(&args, Scratch::new().path()).await.named("mlflow")
}

/// A server that says the same to everything.
async fn says(status: u16, body: &str) -> HttpProxy {
    let proxy = HttpProxy::start("http://127.0.0.1:9").await;
    proxy.set([Rule::on("/", HttpFault::says(status, body))]);
    proxy
}

#[tokio::test]
async fn a_server_that_does_not_know_its_own_name_is_no_matter_of_credentials() {
    let proxy = says(403, "Invalid Host header - possible DNS rebinding attack detected").await;
    let check = checked(&["--mlflow-url", &proxy.url()]).await;
    assert_eq!(check.status, Status::Error);
    let remedy = check.remedy.unwrap();
    assert!(remedy.contains("--allowed-hosts") && !remedy.contains("PASSWORD"), "{remedy}");
    let proxy = says(403, "Permission denied").await;
    let remedy = checked(&["--mlflow-url", &proxy.url()]).await.remedy.unwrap();
    assert!(remedy.contains("MLFLOW_TRACKING_PASSWORD"), "{remedy}");
}

#[tokio::test]
async fn a_server_behind_tls_is_checked_with_the_certificates_that_are_named() {
    let proxy = says(200, "{\"experiments\": []}").await;
    let front = TlsFront::start(&proxy.url(), Clients::Anybody).await;
    let (url, authority) = (front.url(), front.authority());
    let authority = authority.to_str().unwrap();
    assert_eq!(checked(&["--mlflow-url", &url, "--mlflow-ca", authority]).await.status, Status::Ok);
    let other = TlsFront::start(&proxy.url(), Clients::Anybody).await;
    let wrong = other.authority();
    let check = checked(&["--mlflow-url", &url, "--mlflow-ca", wrong.to_str().unwrap()]).await;
    assert!(check.remedy.unwrap().contains("MLFLOW_TRACKING_SERVER_CERT_PATH"), "{}", check.message);
    let check = checked(&["--mlflow-url", &url, "--mlflow-ca", authority, "--mlflow-insecure-tls"]).await;
    assert!(check.message.contains("contradict"), "{}", check.message);
}

#[tokio::test]
async fn a_workspace_the_server_does_not_have_is_said_and_a_server_in_trouble_is_not_taken_for_it() {
    for (status, said) in [
        (
            500,
            r#"{"error_code": "FEATURE_DISABLED", "message": "Workspace APIs are not available: workspaces are not enabled on this server"}"#,
        ),
        (404, r#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Workspace 'team' not found"}"#),
    ] {
        let proxy = says(status, said).await;
        let check = checked(&["--mlflow-url", &proxy.url(), "--mlflow-workspace", "team"]).await;
        assert!(check.message.contains("\"team\""), "{}", check.message);
        assert!(check.remedy.unwrap().contains("MLFLOW_WORKSPACE"));
    }
    let proxy = says(503, "Workspace 'team' not found").await;
    let check = checked(&["--mlflow-url", &proxy.url(), "--mlflow-workspace", "team"]).await;
    assert!(check.message.contains("HTTP 503"), "{}", check.message);
}

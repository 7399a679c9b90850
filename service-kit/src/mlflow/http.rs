//! The HTTP client of everything that speaks to a tracking server, and how its failures are read.
//!
//! Invariant: a redirect is never followed, so that credentials go nowhere else.

use reqwest::{ClientBuilder, redirect};

use super::tracking::Tracking;
use crate::error::CliError;
use crate::exit::Exit;

/// A client for a tracking server; `shape` sets deadlines and the like.
///
/// # Errors
/// When certificates cannot be read, or the system has none to check a server's with.
pub fn client(
    tracking: &Tracking,
    shape: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<reqwest::Client, CliError> {
    let mut builder = bare();
    if tracking.is_loopback() {
        builder = builder.no_proxy();
    }
    // Without https nobody is checked, and a machine without any certificates will do.
    builder = if tracking.is_https() { tracking.tls().apply(builder)? } else { builder.tls_certs_only([]) };
    shape(builder).build().map_err(|error| {
        CliError::new("mlflow-client", Exit::LocalResource, "no connection to MLflow can be prepared")
            .because(innermost(&error))
            .help("set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificates the server's is signed by")
    })
}

/// A client without anything of ours but the cryptography, which must be chosen before the first one is built.
pub fn bare() -> ClientBuilder {
    // An error means that it was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(redirect::Policy::none())
}

/// The last link of the chain says what happened; those before it name our own address again.
pub fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// True for MLflow's words to whoever calls it by a name it does not know, which are no refusal of credentials.
pub fn is_host_refusal(words: &str) -> bool {
    words.contains("Host header")
}

/// True for MLflow's words to whoever names a workspace it does not have, or where it has none at all. They come as any
/// other error of its interface does.
pub fn is_workspace_refusal(words: &str) -> bool {
    // At the beginning: whatever is quoted behind it may be anybody's words.
    ["Workspace APIs are not available", "Workspace '", "Workspace name '", "Active workspace is required"]
        .iter()
        .any(|beginning| words.starts_with(beginning))
}

/// What to do when the other side's certificate, or ours, is the trouble.
pub fn tls_remedy(words: &str) -> Option<&'static str> {
    let words = words.to_ascii_lowercase();
    if words.contains("certificate required") || words.contains("certificaterequired") {
        return Some("the server wants to know who we are: set MLFLOW_TRACKING_CLIENT_CERT_PATH");
    }
    if words.contains("certificate") || words.contains("unknownissuer") {
        return Some(
            "set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificates the server's is signed by, and call the server by \
             the name in its certificate",
        );
    }
    let is_no_tls = words.contains("corrupt message") || words.contains("invalidcontenttype");
    is_no_tls.then_some("the server does not speak TLS there: set MLFLOW_TRACKING_URI to an http:// address")
}

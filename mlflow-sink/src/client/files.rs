//! The files of a run: sent to where the server keeps them, or through the server to where it does not.
//!
//! A server that keeps the files itself takes them of any size. One whose artefacts lie elsewhere (a bucket, a directory
//! it was given) has no such interface; it takes small files and brings them there, as its own pages do.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, RequestBuilder, Response};
use schemas::failure::bounded_head;
use serde::Deserialize;

use super::Client;
use super::error::{ClientError, Scope};

/// Deadline of a file: the largest there can be, over a slow line.
const FILE_TIMEOUT: Duration = Duration::from_secs(180);
/// Longest quote of what the server says about a file.
const MAX_WORDS: usize = 800;
/// Most a server takes to bring it elsewhere.
pub const MAX_ELSEWHERE_BYTES: u64 = 10 << 20;

/// Where the files of a run lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// With the server, below this place of its artefact interface.
    Kept(String),
    /// Elsewhere: what the server says of it.
    Elsewhere(String),
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upload {
    /// It is there.
    Done,
    /// The server, or what stands behind it, does not take it: why.
    NotTaken(String),
    /// The way was cut in its middle: how. Perhaps by its own source.
    Torn(String),
}

impl Upload {
    /// Whether it is there, else why not.
    pub fn done(self) -> Result<(), String> {
        match self {
            Self::Done => Ok(()),
            Self::NotTaken(reason) | Self::Torn(reason) => Err(reason),
        }
    }
}

impl Store {
    /// Of the artefact URI of a run or a model.
    pub(super) fn of(uri: &str) -> Self {
        proxied(uri).map_or_else(|| Self::Elsewhere(uri.to_owned()), Self::Kept)
    }
}

/// The place behind the server's own artefact interface; `None` when the artefacts lie elsewhere.
pub(super) fn proxied(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/')?.1,
        None => rest,
    };
    Some(path.trim_matches('/').to_owned())
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    files: Vec<ListedFile>,
}

#[derive(Deserialize)]
struct ListedFile {
    path: String,
}

impl Client {
    /// Sends a file of so many bytes to its place among those of a run; what is there is replaced. It waits for no turn:
    /// it is seldom, and the database, which the turns protect, has nothing to do with it.
    pub async fn send_file(
        &self,
        run: &str,
        store: &Store,
        path: &str,
        bytes: u64,
        body: Body,
    ) -> Result<Upload, ClientError> {
        match store {
            Store::Kept(root) => self.upload(&format!("{root}/{path}"), bytes, body).await,
            Store::Elsewhere(place) if bytes > MAX_ELSEWHERE_BYTES => Ok(Upload::NotTaken(format!(
                "the artefacts lie at {place}, outside the server, which brings files of at most \
                 {MAX_ELSEWHERE_BYTES} bytes there, and this one has {bytes}"
            ))),
            Store::Elsewhere(_) => {
                let request = self.wire.request(Method::POST, "../../../ajax-api/2.0/mlflow/upload-artifact");
                let request = request.query(&[("run_uuid", run), ("path", path)]);
                // What looks like a form would not be taken for a file.
                let request = request.header(CONTENT_TYPE, "application/octet-stream");
                send("upload-artifact", request, bytes, body).await
            }
        }
    }

    /// The same of a file that is in memory, which is sent once more when the way is cut.
    pub async fn send_bytes(
        &self,
        run: &str,
        store: &Store,
        path: &str,
        file: Vec<u8>,
    ) -> Result<Upload, ClientError> {
        let bytes = file.len() as u64;
        match self.send_file(run, store, path, bytes, file.clone().into()).await? {
            Upload::Torn(_) => self.send_file(run, store, path, bytes, file.into()).await,
            sent @ (Upload::Done | Upload::NotTaken(_)) => Ok(sent),
        }
    }

    /// Sends a file of so many bytes to a place of the server's own artefact store.
    async fn upload(&self, place: &str, bytes: u64, body: Body) -> Result<Upload, ClientError> {
        let request = self.wire.request(Method::PUT, &format!("../mlflow-artifacts/artifacts/{place}"));
        send("mlflow-artifacts", request, bytes, body).await
    }

    /// A file in a folder of a run; `None` when there is none, or it is larger than so many bytes. It is looked for first:
    /// version 2 answers with HTTP 500 when it is not there.
    pub async fn file(
        &self,
        run: &str,
        folder: &str,
        path: &str,
        most: usize,
    ) -> Result<Result<Option<Vec<u8>>, String>, ClientError> {
        let listed: Result<Listed, _> =
            self.get("artifacts/list", &[("run_id", run), ("path", folder)]).await;
        match listed {
            Ok(listed) if listed.files.iter().any(|file| file.path == path) => {}
            Ok(_) => return Ok(Ok(None)),
            Err(error @ (ClientError::Outage { scope: Scope::All, .. } | ClientError::Missing { .. })) => {
                return Err(error);
            }
            // A server that keeps no files, but was told that it does, answers with HTTP 500.
            Err(error) => return Ok(Err(error.to_string())),
        }
        let call = "get-artifact";
        let request = self.wire.request(Method::GET, "../../../get-artifact").timeout(FILE_TIMEOUT);
        let request = request.query(&[("run_uuid", run), ("path", path)]);
        let response = request.send().await.map_err(|error| ClientError::unreachable(call, &error))?;
        let status = response.status();
        let (body, is_whole) = beginning(response, if status.is_success() { most } else { MAX_WORDS }).await;
        if status.is_success() {
            return Ok(Ok(Some(body).filter(|_| is_whole)));
        }
        refused(call, status.as_u16(), &body).map(Err)
    }
}

async fn send(call: &str, request: RequestBuilder, bytes: u64, body: Body) -> Result<Upload, ClientError> {
    let request = request.timeout(FILE_TIMEOUT).header(CONTENT_LENGTH, bytes).body(body);
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Err(ClientError::unreachable(call, &error)),
        // The source failed, or it took too long; when it was the server after all, the next call meets that.
        Err(error) => return Ok(Upload::Torn(ClientError::unreachable(call, &error).to_string())),
    };
    let status = response.status();
    if status.is_success() {
        return Ok(Upload::Done);
    }
    let (words, _) = beginning(response, MAX_WORDS).await;
    refused(call, status.as_u16(), &words).map(Upload::NotTaken)
}

/// So many bytes of an answer, and whether that is all of it.
async fn beginning(mut response: Response, most: usize) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return (body, true),
            Err(_) => return (body, false),
        }
        if body.len() > most {
            return (body, false);
        }
    }
}

/// Why a file is not taken; an outage when that may be otherwise in a while.
fn refused(call: &str, status: u16, words: &[u8]) -> Result<String, ClientError> {
    let words = bounded_head(&String::from_utf8_lossy(words), MAX_WORDS);
    let reason = format!("HTTP {status}: {words}");
    let is_busy = matches!(status, 429 | 502 | 503 | 504);
    // A server that is told to take no files answers 503 too: version 2 "disabled due to ... `--no-serve-artifacts`",
    // version 3 "Artifact serving is disabled ... `--serve-artifacts`".
    if is_busy && !words.contains("serve-artifacts") {
        return Err(ClientError::outage(call, reason));
    }
    Ok(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_keeps_itself_can_be_sent_to_it() {
        let kept = |uri| Store::of(uri) == Store::Kept("1/ab/artifacts".to_owned());
        assert!(kept("mlflow-artifacts:/1/ab/artifacts"));
        assert!(kept("mlflow-artifacts://host:5000/1/ab/artifacts"));
        assert!(!kept("s3://bucket/1/ab/artifacts"));
    }

    #[test]
    fn a_server_that_keeps_no_files_is_not_taken_for_one_that_is_busy() {
        assert!(
            refused("c", 503, b"Artifact serving is disabled, start it with `--serve-artifacts`").is_ok()
        );
        assert!(refused("c", 503, b"overloaded").is_err() && refused("c", 400, b"too large").is_ok());
    }
}

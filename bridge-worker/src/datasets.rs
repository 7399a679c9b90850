//! The file behind a data set's name, found and hashed before a run is announced.
//!
//! Invariants:
//! - a file lies in the directory the operator allowed, links followed, or was fetched from the artefact store under the
//!   digest the store has of it;
//! - trials are told the content by its SHA-256, and a child reads that content or nothing: the trials of a run are
//!   comparable, and a checksum in the request holds for all of them;
//! - a file is hashed once per version of it; what is fetched is bounded, and removed with the worker.
//!
//! What is in the file is looked at by the child alone: parsers of foreign bytes have no place in the worker.

mod directory;
mod fetched;
mod hash;

use std::path::PathBuf;
use std::sync::Arc;

use schemas::dataset::{BUNDLED, DatasetRef, Place};
use schemas::{Failure, FailureClass, Stage};

use crate::artifacts::Artifacts;
use directory::Directory;
use fetched::{Fetched, Hold};
use hash::Hashes;

/// The largest file that is used; the child has the same limit.
const MAX_BYTES: u64 = 512 << 20;

/// A data set that is a file.
#[derive(Debug, Clone)]
pub struct Located {
    /// Its name among the data sets; the split into training and test rows depends on it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Hex SHA-256 of its content.
    pub sha256: String,
    /// Keeps a fetched file where it is while somebody trains on it.
    _hold: Option<Arc<Hold>>,
}

/// Why there is no file to train on.
#[derive(Debug)]
pub enum NotLocated {
    /// There is none, or not this one: the request can never run here.
    Refused(Failure),
    /// The store does not answer; it may later.
    Unavailable(String),
}

/// Finds data sets.
#[derive(Debug)]
pub struct Datasets {
    directory: Directory,
    fetched: Fetched,
    hashes: Hashes,
}

impl Datasets {
    /// Data sets of `directory`, and of the artefact store by way of `fetched`, which is the worker's own.
    pub fn new(directory: PathBuf, fetched: PathBuf) -> Self {
        Self {
            directory: Directory::new(directory),
            fetched: Fetched::under(fetched),
            hashes: Hashes::default(),
        }
    }

    /// The file behind `dataset_id`; `None` when the data set is bundled.
    ///
    /// # Errors
    /// See [`NotLocated`].
    pub async fn locate(
        &self,
        artifacts: &Artifacts,
        dataset_id: &str,
    ) -> Result<Option<Located>, NotLocated> {
        let asked = DatasetRef::parse(dataset_id).map_err(|error| refused(error.to_string()))?;
        let located = match asked.place {
            Place::Bundled(_) => return Ok(None),
            Place::File(name) => self.find(name).await?,
            Place::Artifact(object) => self.fetch(artifacts, object).await?,
        };
        match asked.sha256 {
            Some(wanted) if !wanted.eq_ignore_ascii_case(&located.sha256) => Err(refused(format!(
                "data set \"{}\" is not the one that was asked for: its SHA-256 is {}; \
                 correct the checksum in the request, or put the right file there",
                located.name, located.sha256
            ))),
            Some(_) | None => Ok(Some(located)),
        }
    }

    async fn find(&self, name: &str) -> Result<Located, NotLocated> {
        let (path, name) = self.directory.resolve(name).map_err(refused)?;
        let hashed = self.hashes.sha256(&path).await;
        let sha256 =
            hashed.map_err(|error| refused(format!("data set \"{name}\" cannot be read: {error}")))?;
        Ok(Located { name, path, sha256, _hold: None })
    }

    async fn fetch(&self, artifacts: &Artifacts, object: &str) -> Result<Located, NotLocated> {
        let (path, sha256, hold) = self.fetched.get(artifacts, object).await?;
        Ok(Located { name: object.to_owned(), path, sha256, _hold: Some(hold) })
    }
}

/// A failure that says where in the request it lies.
fn refused(reason: impl std::fmt::Display) -> NotLocated {
    let message = format!("at `dataset_id`: {reason}");
    NotLocated::Refused(Failure::new(FailureClass::Validation, Stage::Validate, message))
}

/// What exists, for whoever named something else.
fn there_is(files: &[String]) -> String {
    BUNDLED.iter().map(|name| (*name).to_owned()).chain(files.iter().cloned()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;

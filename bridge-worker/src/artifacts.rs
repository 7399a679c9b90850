//! Files a trial leaves behind, on their way into the object store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::{ObjectInfo, ObjectMetadata, ObjectStore, UpdateMetadata};
use futures_util::TryStreamExt as _;
use schemas::event::ArtifactRef;
use schemas::lifecycle::RunState;
use schemas::{RunId, TrialId};
use service_kit::broker::Broker;
use service_kit::topology::ARTIFACTS_BUCKET;

use crate::foreign_file::{ForeignFile, check_name};

/// Largest file that is kept.
pub(crate) const MAX_BYTES: u64 = 256 << 20;
/// Most files of one trial that are kept.
pub const MAX_FILES: usize = 32;
/// Deadline of one upload.
const UPLOAD_LIMIT: Duration = Duration::from_secs(120);

/// Deadline for the list of a run's files; the end of a run waits for it.
const LIST_LIMIT: Duration = Duration::from_secs(1);

/// A file as its trial announced it.
#[derive(Debug, Clone)]
pub struct Announced {
    /// Its name in the store.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Hex SHA-256 of its content.
    pub sha256: String,
    /// Its media type.
    pub media_type: String,
}

/// Why a file was not kept. The trial's result stands all the same; the reason becomes a warning of it.
#[derive(Debug, thiserror::Error)]
#[error("artefact \"{name}\" was not kept: {reason}")]
pub struct NotKept {
    name: String,
    reason: String,
}

/// Where the files of all trials go.
#[derive(Clone)]
pub struct Artifacts {
    place: Place,
}

#[derive(Clone)]
enum Place {
    /// The object store.
    Store(Arc<ObjectStore>),
    /// A directory of this machine, for a search without a broker.
    Directory(PathBuf),
}

impl Artifacts {
    /// Opens the store; [`service_kit::topology::ensure`] has created it.
    pub async fn open(broker: &Broker) -> Result<Self, String> {
        let store =
            broker.jetstream.get_object_store(ARTIFACTS_BUCKET).await.map_err(|error| error.to_string())?;
        Ok(Self { place: Place::Store(Arc::new(store)) })
    }

    /// Files in a directory of this machine.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { place: Place::Directory(directory) }
    }

    /// The store itself, for whoever reads from it; none without a broker.
    pub(crate) fn store(&self) -> Option<&ObjectStore> {
        match &self.place {
            Place::Store(store) => Some(store),
            Place::Directory(_) => None,
        }
    }

    /// Names of a run's files, `<run>/<trial>/<name>`, as many as a message can show.
    pub(crate) async fn names_of(&self, run: &RunId) -> Vec<String> {
        const MAX_SHOWN: usize = 20;
        let mut names: Vec<String> = self.of_run(run).await.into_iter().map(|object| object.name).collect();
        names.sort();
        names.truncate(MAX_SHOWN);
        names
    }

    /// Uploads a file of a trial under `<run>/<trial>/<name>` after checking that it lies in the trial's directory and
    /// is what was announced.
    pub async fn keep(
        &self,
        run: &RunId,
        trial: &TrialId,
        workdir: &Path,
        file: &Announced,
    ) -> Result<ArtifactRef, NotKept> {
        let not_kept = |reason: String| NotKept { name: file.name.clone(), reason };
        let content = read_checked(workdir, file).await.map_err(not_kept)?;
        let bytes = content.len();
        let object = format!("{run}/{trial}/{}", file.name);
        match tokio::time::timeout(UPLOAD_LIMIT, self.put(&object, &content)).await {
            Ok(Ok(uri)) => Ok(ArtifactRef {
                uri,
                checksum: Some(format!("sha256:{}", file.sha256)),
                bytes: i64::try_from(bytes).ok(),
                media_type: Some(file.media_type.clone()),
            }),
            Ok(Err(reason)) => Err(not_kept(reason)),
            Err(_) => Err(not_kept(format!("the upload took longer than {} s", UPLOAD_LIMIT.as_secs()))),
        }
    }
}

impl Artifacts {
    async fn put(&self, object: &str, mut content: &[u8]) -> Result<String, String> {
        match &self.place {
            Place::Store(store) => {
                let metadata = ObjectMetadata { name: object.to_owned(), ..ObjectMetadata::default() };
                let stored = store.put(metadata, &mut content).await;
                stored.map(|_| uri(object)).map_err(|error| error.to_string())
            }
            Place::Directory(directory) => {
                let path = directory.join(object);
                let written = async {
                    if let Some(parent) = path.parent() {
                        tokio::fs::create_dir_all(parent).await?;
                    }
                    tokio::fs::write(&path, content).await
                };
                let written = written.await.map_err(|error| format!("{}: {error}", path.display()));
                written.map(|()| format!("file://{}", path.display()))
            }
        }
    }
}

/// Begins the description of a file whose run did not complete; the state follows. (The client's `update_metadata`
/// writes names and descriptions and drops the rest.)
const MARK: &str = "of a run that ended as ";

impl Artifacts {
    /// Marks every file of a run with how the run ended, so that nobody takes it for one of a run that completed. What
    /// cannot be marked is said and left: the end of the run does not wait for it.
    pub async fn mark(&self, run: &RunId, state: RunState) {
        for object in self.of_run(run).await {
            if let Err(error) = self.describe(&object, Some(format!("{MARK}{state}"))).await {
                tracing::warn!(%run, object = object.name, error, "artefact not marked");
            }
        }
    }

    /// Removes the files of a run that none of its trials tells of (a worker was lost between the file and the event),
    /// and takes the marks of earlier ends off the others.
    pub async fn keep_only(&self, run: &RunId, kept: &[String]) {
        for object in self.of_run(run).await {
            let is_kept = kept.contains(&uri(&object.name));
            let is_marked = object.description.as_ref().is_some_and(|text| text.starts_with(MARK));
            let changed = if !is_kept {
                self.remove(&object.name).await
            } else if is_marked {
                self.describe(&object, None).await
            } else {
                Ok(())
            };
            if let Err(error) = changed {
                tracing::warn!(%run, object = object.name, error, "artefact not tidied up");
            }
        }
    }

    async fn describe(&self, object: &ObjectInfo, description: Option<String>) -> Result<(), String> {
        let update = UpdateMetadata { name: object.name.clone(), description, ..UpdateMetadata::default() };
        let Some(store) = self.store() else { return Ok(()) };
        store.update_metadata(&object.name, update).await.map(drop).map_err(|error| error.to_string())
    }

    async fn remove(&self, name: &str) -> Result<(), String> {
        let Some(store) = self.store() else { return Ok(()) };
        store.delete(name).await.map_err(|error| error.to_string())
    }

    async fn of_run(&self, run: &RunId) -> Vec<ObjectInfo> {
        let Some(store) = self.store() else { return Vec::new() };
        let prefix = format!("{run}/");
        let all = async {
            let list = store.list().await.map_err(|error| error.to_string())?;
            let of_run = list
                .try_filter(|object| std::future::ready(!object.deleted && object.name.starts_with(&prefix)));
            of_run.try_collect().await.map_err(|error| error.to_string())
        };
        match tokio::time::timeout(LIST_LIMIT, all).await.unwrap_or_else(|_| Err("no answer".to_owned())) {
            Ok(objects) => objects,
            Err(error) => {
                tracing::warn!(%run, error, "artefacts of the run cannot be listed");
                Vec::new()
            }
        }
    }
}

fn uri(object: &str) -> String {
    format!("nats://{ARTIFACTS_BUCKET}/{object}")
}

/// The content of a file as it was announced, if it lies in the trial's directory under a name it can be kept under.
pub(crate) async fn read_checked(workdir: &Path, file: &Announced) -> Result<Vec<u8>, String> {
    check_name(&file.name)?;
    let (home, path) = (workdir.to_owned(), file.path.clone());
    let read = move || ForeignFile::open_in(&home, &path, MAX_BYTES)?.read();
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
    let (content, found) = read?;
    if found != file.sha256 {
        return Err("its content is not what was announced (SHA-256 differs)".to_owned());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    /// `printf x | sha256sum`
    const SHA256_OF_X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    fn announced(name: &str, path: PathBuf) -> Announced {
        Announced {
            name: name.to_owned(),
            path,
            sha256: SHA256_OF_X.to_owned(),
            media_type: "text/plain".to_owned(),
        }
    }

    async fn keep(scratch: &testkit::Scratch, file: &Announced) -> Result<ArtifactRef, NotKept> {
        let artifacts = Artifacts::in_directory(scratch.join("kept"));
        let (run, trial) = (RunId::parse("r").unwrap(), TrialId::from_text("r-t00001"));
        artifacts.keep(&run, &trial, &scratch.join("work"), file).await
    }

    #[tokio::test]
    async fn a_forged_name_writes_nothing_outside_of_the_directory() {
        let scratch = testkit::Scratch::new();
        std::fs::create_dir(scratch.join("work")).unwrap();
        std::fs::write(scratch.join("work/x"), "x").unwrap();
        let victim = scratch.join("victim");
        for name in ["../../../victim", victim.to_str().unwrap(), "..", "a/b", ""] {
            let error = keep(&scratch, &announced(name, scratch.join("work/x"))).await.unwrap_err();
            assert!(error.to_string().contains("its name"), "{error}");
        }
        assert!(!victim.exists() && !scratch.join("kept").exists());
        let kept = keep(&scratch, &announced("x", scratch.join("work/x"))).await.unwrap();
        assert!(kept.uri.ends_with("kept/r/r-t00001/x") && kept.bytes == Some(1), "{kept:?}");
    }

    #[tokio::test]
    async fn a_named_pipe_keeps_nobody_waiting() {
        let scratch = testkit::Scratch::new();
        std::fs::create_dir(scratch.join("work")).unwrap();
        nix::unistd::mkfifo(&scratch.join("work/pipe"), Mode::S_IRWXU).unwrap();
        let error = keep(&scratch, &announced("pipe", scratch.join("work/pipe"))).await.unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
    }
}

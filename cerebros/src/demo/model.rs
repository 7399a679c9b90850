//! The best model's files, out of the object store and onto the disk, before the store goes.
//!
//! Invariants: a file is there whole or not at all (the store checks its digest); names from events lead nowhere but
//! into the directory of the run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use tokio::io::AsyncReadExt as _;

use super::search::Found;
use crate::assembly::Layout;

/// Deadline of one file; the worker keeps none that is over 256 MB.
const DEADLINE: Duration = Duration::from_secs(60);
/// The most that is read of one file.
const MAX_BYTES: u64 = 256 << 20;

/// Brings the files of the best trial into `<data dir>/models/<run>`. Gives their paths, in the order of the event.
///
/// # Errors
/// When one cannot be read or written.
pub(super) async fn bring_home(
    broker: &Broker,
    found: &Found,
    base: &Layout,
) -> Result<Vec<PathBuf>, CliError> {
    let directory = base.models().join(found.run.as_str());
    let mut paths = Vec::new();
    for file in &found.files {
        let fetched = tokio::time::timeout(DEADLINE, fetch(broker, &file.uri)).await;
        let late = || CliError::new("model-late", Exit::Unreachable, format!("{} did not arrive", file.uri));
        let content = fetched.map_err(|_| late())??;
        paths.push(write(&directory, name_of(&file.uri), &content)?);
    }
    Ok(paths)
}

async fn fetch(broker: &Broker, uri: &str) -> Result<Vec<u8>, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        CliError::new("model-unreadable", Exit::Unreachable, format!("{uri} cannot be read")).because(error)
    };
    let (bucket, object) = uri
        .strip_prefix("nats://")
        .and_then(|place| place.split_once('/'))
        .ok_or_else(|| failed(&"it is not in the object store"))?;
    let store = broker.jetstream.get_object_store(bucket).await.map_err(|error| failed(&error))?;
    let object = store.get(object).await.map_err(|error| failed(&error))?;
    let mut content = Vec::new();
    object.take(MAX_BYTES).read_to_end(&mut content).await.map_err(|error| failed(&error))?;
    Ok(content)
}

/// Under another name first: who sees the file sees all of it.
fn write(directory: &Path, name: &str, content: &[u8]) -> Result<PathBuf, CliError> {
    let path = directory.join(name);
    let part = directory.join(format!(".{name}.part"));
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&part, content))
        .and_then(|()| std::fs::rename(&part, &path))
        .map_err(|error| crate::assembly::unwritable(&path, &error))?;
    Ok(path)
}

/// The last part of a URI as a file name.
fn name_of(uri: &str) -> &str {
    let name = uri.rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | "..") { "model" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert_eq!(name_of("nats://bucket/run/trial/model.joblib"), "model.joblib");
        for hostile in ["nats://bucket/..", "nats://bucket/run/", "", "/etc/.."] {
            assert_eq!(name_of(hostile), "model", "{hostile}");
        }
    }
}

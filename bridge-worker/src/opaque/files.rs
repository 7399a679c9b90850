//! Files an opaque run names in its result, kept in the object store as far as they lie in its working directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::TrialId;
use schemas::event::ArtifactRef;
use serde_json::Value;

use crate::artifacts::{Announced, MAX_BYTES, MAX_FILES};
use crate::foreign_file::ForeignFile;
use crate::run::Attempt;

/// Stands for the trial in the place of a file that belongs to the run as a whole.
const OF_THE_RUN: &str = "run";

/// Keeps what can be kept, and notes what cannot.
pub(super) async fn keep(attempt: &Attempt, workdir: &Path, artifacts: &[Value]) -> Vec<ArtifactRef> {
    let run = &attempt.plan.run_id;
    let owner = TrialId::from_text(OF_THE_RUN);
    let mut kept: Vec<ArtifactRef> = Vec::new();
    let mut names = BTreeMap::new();
    for artifact in artifacts {
        if kept.len() == MAX_FILES {
            attempt.remarks.note(Some(&format!("the first {MAX_FILES} artefacts of the result were kept")));
            break;
        }
        let kept_or_not = match announced(workdir, artifact).await {
            Ok(file) => match names.insert(file.name.clone(), file.sha256.clone()) {
                None => {
                    let kept = attempt.worker.artifacts.keep(run, &owner, workdir, &file).await;
                    kept.map_err(|error| error.to_string())
                }
                Some(other) if other == file.sha256 => continue,
                Some(other) => {
                    let reason = format!(
                        "artefact {} was not kept: another of the result is named {} as well; give it a `name` of its own",
                        file.path.display(),
                        file.name
                    );
                    names.insert(file.name, other);
                    Err(reason)
                }
            },
            Err(reason) => Err(reason),
        };
        match kept_or_not {
            Ok(file) => kept.push(file),
            Err(reason) => {
                tracing::warn!(%run, reason, "artefact not kept");
                attempt.remarks.note(Some(&reason));
            }
        }
    }
    kept
}

async fn announced(workdir: &Path, artifact: &Value) -> Result<Announced, String> {
    let (path, name) = place_of(artifact)?;
    let path = workdir.join(path);
    let not_kept = |reason: String| format!("artefact {} was not kept: {reason}", path.display());
    let (hashed, home) = (path.clone(), workdir.to_owned());
    // Only of a file that may be kept: what lies elsewhere, or is too large, is not even read.
    let hash = move || ForeignFile::open_in(&home, &hashed, MAX_BYTES)?.sha256();
    let sha256 = tokio::task::spawn_blocking(hash).await;
    let sha256 = sha256.map_err(|error| not_kept(error.to_string()))?.map_err(not_kept)?;
    let media_type = media_type(&path).to_owned();
    Ok(Announced { name: legal(&name), path: path.clone(), sha256, media_type })
}

/// The path of an artefact, and its name: `"path"`, or `{"path": ..., "name": ...}`.
fn place_of(artifact: &Value) -> Result<(PathBuf, String), String> {
    let path = artifact.as_str().or_else(|| artifact.get("path")?.as_str());
    let Some(path) = path.map(PathBuf::from) else {
        let what = schemas::failure::bounded_head(&artifact.to_string(), 100);
        return Err(format!("an artefact of the result names no path: {what}"));
    };
    let named = artifact.get("name").and_then(Value::as_str).map(str::to_owned);
    let name = named.or_else(|| Some(path.file_name()?.to_str()?.to_owned()));
    let name = name.filter(|name| !name.trim_matches('.').is_empty());
    name.map(|name| (path, name)).ok_or_else(|| "an artefact of the result has no name".to_owned())
}

/// A name the object store takes.
fn legal(name: &str) -> String {
    let is_legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    name.chars().take(128).map(|letter| if is_legal(letter) { letter } else { '_' }).collect()
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        Some("txt") => "text/plain",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_artefact_is_named_by_its_path_or_by_itself() {
        let name = |artifact: Value| place_of(&artifact).map(|(_, name)| name);
        assert_eq!(name(json!("out/model.bin")).unwrap(), "model.bin");
        assert_eq!(name(json!({"path": "out/model.bin", "name": "best"})).unwrap(), "best");
        assert!(
            name(json!(7)).is_err()
                && name(json!("/")).is_err()
                && name(json!({"path": "a", "name": ".."})).is_err()
        );
        assert_eq!(legal("my model/ü.bin"), "my_model__.bin");
    }

    #[tokio::test]
    async fn what_lies_outside_or_is_too_large_is_not_read() {
        let scratch = testkit::Scratch::new();
        let home = scratch.join("work");
        std::fs::create_dir_all(home.join("sub")).unwrap();
        let outside = scratch.write("outside", "x");
        std::fs::write(home.join("sub/inside"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, home.join("link")).unwrap();
        // Of holes alone: hashing it would take hours.
        std::fs::File::create(home.join("huge")).unwrap().set_len(8 << 40).unwrap();
        assert!(announced(&home, &json!("sub/inside")).await.is_ok());
        for path in [outside.to_str().unwrap(), "link", "sub", "gone", "huge"] {
            assert!(announced(&home, &json!(path)).await.is_err(), "{path}");
        }
    }
}

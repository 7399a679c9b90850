//! A file of the best model as an artefact in MLflow.

use std::collections::BTreeMap;

use schemas::event::ArtifactRef;
use service_kit::topology::ARTIFACTS_BUCKET;

use super::Writes;
use super::names::legal;

/// Folder of the artefacts.
pub const FOLDER: &str = "model";
/// Tags with the SHA-256 of each file that is there, before the name of the file.
pub const MODEL_PREFIX: &str = "cerebros.model.sha256.";
/// Tags with why a file is not there, before the name of the file.
pub const NOT_UPLOADED_PREFIX: &str = "cerebros.model.not_uploaded.";
/// The one tag versions before this one had for all files.
const NOT_UPLOADED_ONCE: &str = "cerebros.model.not_uploaded";

/// A file and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its name in the object store.
    pub object: String,
    /// Its place among the artefacts of a run.
    pub path: String,
    /// Of its content.
    pub sha256: String,
    name: String,
}

/// The file of a reference.
///
/// # Errors
/// Why it cannot be brought over.
pub fn model(artifact: &ArtifactRef) -> Result<Model, String> {
    let uri = &artifact.uri;
    let object =
        uri.strip_prefix("nats://").and_then(|rest| rest.strip_prefix(ARTIFACTS_BUCKET)?.strip_prefix('/'));
    let object = object.ok_or_else(|| {
        format!("{uri}: only files of the object store {ARTIFACTS_BUCKET} are brought over")
    })?;
    let sha256 = artifact.checksum.as_deref().and_then(|text| text.strip_prefix("sha256:"));
    let sha256 = sha256.ok_or_else(|| format!("{uri}: it has no SHA-256 to be checked against"))?;
    let name = name_in(object);
    Ok(Model {
        object: object.to_owned(),
        path: format!("{FOLDER}/{name}"),
        sha256: sha256.to_ascii_lowercase(),
        name,
    })
}

/// Its own name, of the last part of where it lies.
fn name_in(place: &str) -> String {
    let name = place.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("file");
    legal(name).into_owned()
}

/// The tag with why a file is not there.
pub fn not_uploaded_tag(artifact: &ArtifactRef) -> String {
    legal(&format!("{NOT_UPLOADED_PREFIX}{}", name_in(&artifact.uri))).into_owned()
}

/// Those tags of a run that say that a file is not there.
pub fn excuses<'a>(
    artifact: &ArtifactRef,
    tags: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let own = not_uploaded_tag(artifact);
    tags.keys().map(String::as_str).filter(move |tag| *tag == own || *tag == NOT_UPLOADED_ONCE)
}

impl Model {
    /// True when the tags of a run tell that it is there.
    pub fn is_there(&self, tags: &BTreeMap<String, String>) -> bool {
        tags.get(&self.tag()) == Some(&self.sha256)
    }

    /// The tag that tells that it is there.
    pub fn tell(&self, writes: &mut Writes) {
        writes.tag(&self.tag(), &self.sha256);
    }

    fn tag(&self) -> String {
        legal(&format!("{MODEL_PREFIX}{}", self.name)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(uri: &str, checksum: Option<&str>) -> ArtifactRef {
        ArtifactRef { uri: uri.into(), checksum: checksum.map(str::to_owned), bytes: None, media_type: None }
    }

    #[test]
    fn a_file_of_the_object_store_goes_into_one_folder_under_a_legal_name() {
        let found =
            model(&reference("nats://cerebros_artifacts/r/r-t00001/a?b.bin", Some("sha256:AB"))).unwrap();
        assert_eq!((found.object.as_str(), found.sha256.as_str()), ("r/r-t00001/a?b.bin", "ab"));
        assert!(found.path.starts_with("model/a_b.bin-"), "{}", found.path);
        let mut writes = Writes::default();
        assert!(!found.is_there(&writes.tags));
        found.tell(&mut writes);
        assert!(found.is_there(&writes.tags));
    }

    #[test]
    fn each_file_has_an_excuse_of_its_own() {
        let (one, other) =
            (reference("nats://cerebros_artifacts/r/a.bin", None), reference("s3://b/c.bin", None));
        assert_eq!(not_uploaded_tag(&one), "cerebros.model.not_uploaded.a.bin");
        let tags = [not_uploaded_tag(&one), not_uploaded_tag(&other), NOT_UPLOADED_ONCE.to_owned()];
        let tags = tags.map(|tag| (tag, String::new())).into_iter().collect();
        let of_one: Vec<&str> = excuses(&one, &tags).collect();
        assert_eq!(of_one, [NOT_UPLOADED_ONCE, "cerebros.model.not_uploaded.a.bin"]);
    }

    #[test]
    fn what_cannot_be_checked_or_found_is_left_with_a_reason() {
        assert!(model(&reference("s3://bucket/x", Some("sha256:ab"))).unwrap_err().contains("s3://bucket/x"));
        assert!(model(&reference("nats://cerebros_artifacts/x", None)).unwrap_err().contains("SHA-256"));
    }
}

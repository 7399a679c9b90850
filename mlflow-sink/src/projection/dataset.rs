//! The data set of a run as an input MLflow can list, search and compare.

use schemas::event::MlRunStarted;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::writes::fitting;

/// Longest name of a data set.
const NAME_CHARS: usize = 500;
/// Longest digest is 36; this is half of a SHA-256.
const DIGEST_BYTES: usize = 16;
/// Field of the start of a run with the SHA-256 of the bytes it trains on.
const SHA256: &str = "dataset_sha256";
/// Tag of a run whose data set has no known content: its digest is only that of its name.
pub const DIGEST_OF_TAG: &str = "cerebros.dataset_digest_of";

/// A data set on MLflow's wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dataset {
    /// Its id.
    pub name: String,
    /// Of its content, else of its id.
    pub digest: String,
    /// Who knows how to find it.
    pub source_type: String,
    /// What it is found by, JSON.
    pub source: String,
}

/// The data set a start of a run names.
pub fn dataset(event: &MlRunStarted) -> Option<Dataset> {
    let id = event.dataset_id.as_ref().filter(|id| !id.is_empty())?;
    let digest = match sha256(event) {
        Some(sha256) => sha256[..2 * DIGEST_BYTES].to_owned(),
        None => hex(&Sha256::digest(format!("cerebros:{id}"))[..DIGEST_BYTES]),
    };
    Some(Dataset {
        name: fitting(id, NAME_CHARS),
        digest,
        source_type: "cerebros".to_owned(),
        source: json!({"dataset_id": id, "sha256": sha256(event)}).to_string(),
    })
}

/// The SHA-256 of the content, when the start of the run says one.
pub fn sha256(event: &MlRunStarted) -> Option<&str> {
    let said = event.extra.0.get(SHA256).and_then(Value::as_str)?;
    (said.len() == 64 && said.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(said)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(extra: Value) -> MlRunStarted {
        let timestamp = schemas::Timestamp::from_micros(1);
        serde_json::from_value(json!({
            "run_id": "r", "timestamp": timestamp, "dataset_id": "digits", "search_space": {}, "objective": "accuracy",
            "extra": extra,
        }))
        .unwrap()
    }

    #[test]
    fn the_digest_is_that_of_the_content_and_else_of_the_name() {
        let known = dataset(&start(json!({"dataset_sha256": "ab".repeat(32)}))).unwrap();
        assert_eq!((known.name.as_str(), known.digest), ("digits", "ab".repeat(16)));
        let unknown = dataset(&start(json!({"dataset_sha256": "no hash at all"}))).unwrap();
        assert_eq!(unknown.digest.len(), 32);
        assert_eq!(dataset(&start(json!({}))).unwrap().digest, unknown.digest);
        let mut odd = start(json!({}));
        odd.dataset_id = Some("digits\0 of hands".into());
        assert_eq!(dataset(&odd).unwrap().name, "digits\u{2400} of hands", "no database refuses it");
        let mut silent = start(json!({}));
        silent.dataset_id = None;
        assert_eq!(dataset(&silent), None);
    }
}

//! A candidate: the parameters of one trial, under an id that depends on nothing but the parameters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Bytes of the digest kept in an id: 64 bits, so that a million candidates collide with odds of one in 10^7.
const ID_BYTES: usize = 8;

/// One parameter set to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// 16 hexadecimal digits, equal exactly when the parameters are equal.
    pub id: String,
    /// What the trainer is given: `layers` (hidden layer sizes), `activation`, and every named parameter.
    pub parameters: Map<String, Value>,
    /// Numbers of the trials it was bred from; empty when it was drawn at random.
    pub parents: Vec<u64>,
}

impl Candidate {
    pub(crate) fn new(parameters: Map<String, Value>, parents: Vec<u64>) -> Self {
        Self { id: candidate_id(&parameters), parameters, parents }
    }
}

/// The id of a parameter set: a short hash of its JSON text with sorted keys.
pub fn candidate_id(parameters: &Map<String, Value>) -> String {
    // Sorted here rather than trusted: another crate of a build may switch `Map` to insertion order.
    let canonical: BTreeMap<&String, &Value> = parameters.iter().collect();
    let text = serde_json::to_vec(&canonical).expect("a map with string keys is always representable");
    Sha256::digest(&text)[..ID_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Free-form parts of a record: a JSON value in JSON, JSON text in Avro.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// A free-form JSON value (`search_space`, `parameters`, `payload`, ...).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Json(pub serde_json::Value);

impl Json {
    /// The empty object, default of most free-form parts.
    pub fn object() -> Self {
        Self(serde_json::Value::Object(serde_json::Map::new()))
    }

    /// The empty list.
    pub fn list() -> Self {
        Self(serde_json::Value::Array(Vec::new()))
    }

    /// True for null, the empty object and the empty list.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            serde_json::Value::Null => true,
            serde_json::Value::Object(map) => map.is_empty(),
            serde_json::Value::Array(list) => list.is_empty(),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::String(_) => false,
        }
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let text = serde_json::to_string(&self.0).map_err(ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return serde_json::Value::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        weigh(&text).map_err(de::Error::custom)?;
        serde_json::from_str(&text)
            .map(Self)
            .map_err(|error| de::Error::custom(format!("not JSON text: {error}")))
    }
}

/// Texts up to this size cannot become more than 8 MB of values and are not weighed.
const WEIGHED_FROM: usize = 64 * 1024;
/// Most memory the values of one text may take, in bytes.
const MAX_WEIGHT: usize = 6 << 20;
/// What the first entry of an object takes: one node of the map.
const OBJECT: usize = 640;
/// What a further entry takes, in nodes that are half full.
const ENTRY: usize = 110;
/// What the first items of a list take.
const LIST: usize = 128;
/// What a further item takes while its list is moved to a larger place.
const ITEM: usize = 96;

/// Estimates, without building anything, the memory that the values of a JSON text take: an object of eight bytes
/// becomes a map of hundreds. Too much is refused with a remedy.
pub(crate) fn weigh(text: &str) -> Result<(), String> {
    if text.len() <= WEIGHED_FROM {
        return Ok(());
    }
    let mut weight = text.len();
    let mut is_text = false;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match (is_text, byte) {
            (true, b'\\') => drop(bytes.next()),
            (_, b'"') => is_text = !is_text,
            (true, _) => {}
            (false, b'{') => weight += OBJECT,
            (false, b'[') => weight += LIST,
            (false, b':') => weight += ENTRY,
            (false, b',') => weight += ITEM,
            (false, _) => {}
        }
    }
    if weight <= MAX_WEIGHT {
        return Ok(());
    }
    let (megabytes, limit) = (weight >> 20, MAX_WEIGHT >> 20);
    Err(format!(
        "its values would take {megabytes} MB of memory, over the limit of {limit}; put large values into the artefact store"
    ))
}

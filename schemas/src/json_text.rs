//! Free-form parts of a record: a JSON value in JSON, JSON text in Avro.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_json::{Map, Number, Value};

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

impl Json {
    /// True if no reader takes it, because it nests deeper than [`MAX_DEPTH`].
    pub(crate) fn is_too_deep(&self) -> bool {
        fn fits(value: &Value, left: usize) -> bool {
            match value {
                Value::Array(items) => left > 0 && items.iter().all(|item| fits(item, left - 1)),
                Value::Object(members) => left > 0 && members.values().all(|member| fits(member, left - 1)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            }
        }
        !fits(&self.0, MAX_DEPTH)
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
            return Node { depth: 0 }.deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        weigh(&text).map_err(de::Error::custom)?;
        parse(&text).map(Self).map_err(|error| de::Error::custom(format!("not JSON text: {error}")))
    }
}

/// Reads a JSON value whoever wrote it.
pub(crate) fn parse(text: &str) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node { depth: 0 }.deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

/// Deepest nesting of a free-form value. JSON readers stop at 128, and whatever holds an event (an envelope, the run
/// registry) adds levels of its own: what was accepted once must stay readable there.
pub(crate) const MAX_DEPTH: usize = 100;

/// Reads a value by hand. The library's own type takes an object with one of its private names for a text that is JSON
/// again, which nobody has weighed and whose levels nobody has counted.
struct Node {
    depth: usize,
}

impl Node {
    fn inner<E: de::Error>(&self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.inner()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            members.insert(name, map.next_value_seed(self.inner()?)?);
        }
        Ok(Value::Object(members))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_name_of_the_library_is_a_name_and_a_text_in_it_stays_a_text() {
        let text = r#"{"$serde_json::private::RawValue":"[[1]]"}"#;
        let value = parse(text).unwrap();
        assert_eq!(value["$serde_json::private::RawValue"], "[[1]]");
        assert_eq!(serde_json::from_str::<Json>(text).unwrap().0, value);
    }

    #[test]
    fn what_is_read_can_be_read_again_inside_of_something_else() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(serde_json::from_str::<Json>(&nested(MAX_DEPTH)).is_ok());
        let error = serde_json::from_str::<Json>(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert!(error.is_data() && error.to_string().contains("nested deeper"), "{error}");
        assert_eq!(
            parse("[1,-2,2.5,null,true,\"a\"]").unwrap(),
            serde_json::json!([1, -2, 2.5, null, true, "a"])
        );
        assert!(parse("1 2").is_err());
    }
}

//! The contract as JSON Schema 2020-12, for whoever checks JSON events with tools of their own.
//!
//! Derived from the same shapes that resolution and the compatibility rules use, with what `event::validate` demands
//! beside the types. Only words that mean the same in draft 7 are used, because AsyncAPI's own schema object is a draft
//! 7 one: a reference never stands beside other words.
//!
//! A value the schema refuses is refused by the decoder. What a schema cannot say (bytes of a text, two limits that
//! depend on each other) is left to the decoder.

mod limit;

use serde_json::Value;

use crate::ordered_json::Ordered;
use crate::record::Version;
use crate::shape::{FieldShape, RecordShape, Scalar, Shape};
use limit::Limit;

/// The dialect of [`document`].
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// How the documentation of a free-form part begins: text in Avro, any value in JSON.
pub const FREE_FORM: &str = "JSON text in Avro, a JSON value in JSON.";

/// The definition of every double.
const DOUBLE: &str = "Double";

/// One document for some versions, each a definition under its record's name. For a single one the document itself
/// describes its events.
pub fn document(versions: &[&Version]) -> Ordered {
    let mut definitions = Definitions::new("#/$defs/");
    let references: Vec<Ordered> = versions.iter().map(|version| definitions.add(version)).collect();
    let head = Ordered::object([("$schema", DIALECT.into())]);
    let head = match versions {
        [version] => head.with("$id", format!("urn:{}", version.ce_dataschema())),
        _ => head.with("$id", "urn:cerebros:events").with("title", "Events of the Cerebros pipeline"),
    };
    let head = if versions.len() == 1 { head.with("allOf", Ordered::List(references)) } else { head };
    head.with("$defs", definitions.into_ordered())
}

/// Definitions that refer to each other by name.
#[derive(Debug, Clone)]
pub struct Definitions {
    prefix: &'static str,
    named: Vec<(String, Ordered)>,
}

impl Definitions {
    /// No definitions yet; `prefix` is where they will stand, such as `#/$defs/`.
    pub fn new(prefix: &'static str) -> Self {
        Self { prefix, named: Vec::new() }
    }

    /// Adds a version with everything it refers to, and gives the reference to it.
    pub fn add(&mut self, version: &Version) -> Ordered {
        self.shape(&version.shape)
    }

    /// All of them, an object by name.
    pub fn into_ordered(self) -> Ordered {
        Ordered::Object(self.named)
    }

    fn shape(&mut self, shape: &Shape) -> Ordered {
        match shape {
            Shape::Scalar(scalar) => self.scalar(*scalar),
            Shape::Array(items) => typed("array").with("items", self.shape(items)),
            Shape::Map(values) => typed("object").with("additionalProperties", self.shape(values)),
            Shape::Union(branches) => self.union(branches),
            Shape::Enum(shape) => self.named(short(&shape.name), |_| {
                typed("string")
                    .with_some("description", shape.doc.as_deref())
                    .with("enum", shape.symbols.iter().map(String::as_str).collect::<Ordered>())
            }),
            Shape::Record(record) => self.named(short(&record.name), |all| all.record(record)),
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Ordered {
        match scalar {
            Scalar::Null => typed("null"),
            Scalar::Boolean => typed("boolean"),
            Scalar::Int => {
                let int = typed("integer").with("format", "int32");
                int.with("minimum", i64::from(i32::MIN)).with("maximum", i64::from(i32::MAX))
            }
            Scalar::Long => typed("integer").with("format", "int64"),
            Scalar::Float | Scalar::Double => self.named(DOUBLE, |_| double()),
            Scalar::Bytes | Scalar::String => typed("string"),
            Scalar::TimestampMillis | Scalar::TimestampMicros => typed("string").with("format", "date-time"),
        }
    }

    /// A reference to a definition, which is made unless it is there. It takes its place before what it refers to.
    fn named(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Ordered) -> Ordered {
        if !self.named.iter().any(|(known, _)| known == name) {
            let place = self.named.len();
            self.named.push((name.to_owned(), Ordered::Null));
            self.named[place].1 = make(self);
        }
        Ordered::object([("$ref", format!("{}{name}", self.prefix).into())])
    }

    fn union(&mut self, branches: &[Shape]) -> Ordered {
        let is_null = |branch: &&Shape| **branch == Shape::NULL;
        let others: Vec<&Shape> = branches.iter().filter(|branch| !is_null(branch)).collect();
        match others.as_slice() {
            [only] if others.len() < branches.len() => nullable(self.shape(only)),
            _ => {
                let branches = branches.iter().map(|branch| self.shape(branch)).collect();
                Ordered::object([("anyOf", Ordered::List(branches))])
            }
        }
    }

    fn record(&mut self, record: &RecordShape) -> Ordered {
        let properties =
            record.fields.iter().map(|field| (field.name.clone(), self.field(record, field))).collect();
        let required: Vec<&str> = record
            .fields
            .iter()
            .filter(|field| field.default.is_none())
            .map(|field| field.name.as_str())
            .collect();
        let schema = typed("object").with_some("description", record.doc.as_deref());
        let schema = schema.with("properties", Ordered::Object(properties));
        if required.is_empty() { schema } else { schema.with("required", Ordered::from_iter(required)) }
    }

    fn field(&mut self, record: &RecordShape, field: &FieldShape) -> Ordered {
        let limit = Limit::of(short(&record.name), &field.name);
        let is_free_form = is_free_form(field);
        let schema = match limit {
            Some(Limit::Above0) => typed("number").with("exclusiveMinimum", 0),
            Some(Limit::Object) => Ordered::object([("type", ["object", "null"].into_iter().collect())]),
            _ if is_free_form => Ordered::Object(Vec::new()),
            _ => self.shape(&field.shape),
        };
        let schema = match (&field.shape, limit) {
            (Shape::Union(_), Some(Limit::Above0)) => nullable(schema),
            _ => schema,
        };
        let schema = limit.into_iter().flat_map(Limit::words).fold(schema, |schema, (word, value)| {
            let Ordered::Object(mut members) = schema else { return schema };
            // A demand is narrower than the type it is made of: its word takes the place of the type's.
            members.retain(|(known, _)| known != word);
            members.push((word.to_owned(), value));
            Ordered::Object(members)
        });
        let doc = field.doc.as_deref().map(|doc| doc.strip_prefix(FREE_FORM).unwrap_or(doc).trim_start());
        beside(schema).with_some("description", doc).with_some("default", default(field).as_ref())
    }
}

/// True for a field that is text in Avro and any value in JSON.
pub fn is_free_form(field: &FieldShape) -> bool {
    field.doc.as_deref().is_some_and(|doc| doc.starts_with(FREE_FORM))
}

/// What a value of a field has to be beside its type, for people; nothing if every value will do.
pub fn demand(record: &RecordShape, field: &FieldShape) -> Option<String> {
    Limit::of(short(&record.name), &field.name).map(|limit| limit.to_string())
}

/// The default of a field as JSON events have it.
pub fn default(field: &FieldShape) -> Option<Value> {
    let default = field.default.as_ref()?;
    let text = default.as_str().filter(|_| is_free_form(field));
    Some(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| default.clone()))
}

fn typed(name: &str) -> Ordered {
    Ordered::object([("type", name.into())])
}

fn double() -> Ordered {
    let named = ["NaN", "Infinity", "-Infinity"].into_iter().collect();
    Ordered::object([
        ("description", "A double; what is no finite number is written as a text.".into()),
        ("anyOf", Ordered::List(vec![typed("number"), typed("string").with("enum", Ordered::clone(&named))])),
    ])
}

/// The same, or null.
fn nullable(schema: Ordered) -> Ordered {
    let Ordered::Object(mut members) = schema else { return schema };
    if let Some((_, Ordered::Text(name))) = members.iter().find(|(word, _)| word == "type") {
        let types = [name.as_str(), "null"].into_iter().collect();
        members
            .iter_mut()
            .filter(|(word, _)| word == "type")
            .for_each(|(_, value)| *value = Ordered::clone(&types));
        return Ordered::Object(members);
    }
    Ordered::object([("anyOf", Ordered::List(vec![Ordered::Object(members), typed("null")]))])
}

/// In a form that words can stand beside.
fn beside(schema: Ordered) -> Ordered {
    if schema.get("$ref").is_none() {
        return schema;
    }
    Ordered::object([("allOf", Ordered::List(vec![schema]))])
}

/// A name without its namespace.
pub fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests;

//! From a schema's text to its shape, with limits on everything before the Avro library sees it.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::schema::{EnumSchema, Name, RecordSchema};
use serde_json::Value;

use super::json::to_wire_json;
use super::{EnumShape, FieldShape, RecordShape, Scalar, Shape, ShapeError};
use crate::fingerprint::Fingerprint;
use crate::rule::Rule;

/// Largest text of a schema. Our own have up to 8 KiB.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Deepest nesting of the text; a type takes two to four levels, and our deepest schema has twelve.
const MAX_TEXT_DEPTH: usize = 48;
/// Most types in a shape, each use of a named type counted anew.
const MAX_NODES: usize = 2048;

/// A schema that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub shape: Shape,
    /// CRC-64-AVRO of its canonical form, as the specification has it and other languages compute it.
    pub fingerprint: Fingerprint,
    /// The fingerprint the Rust library gives it, where that is another: it keeps `{"type": "long"}` for a time, where
    /// the specification wants `"long"`. Events of our first builds carry these, and so may those of others.
    pub library_fingerprint: Option<Fingerprint>,
}

impl Parsed {
    /// True if events may name the schema so.
    pub fn is_named(&self, fingerprint: Fingerprint) -> bool {
        self.fingerprint == fingerprint || self.library_fingerprint == Some(fingerprint)
    }
}

/// Reads a schema's text, whoever wrote it: bounded, without recursion, without types outside of the contract.
///
/// # Errors
/// The first rule it breaks, with the place in the schema.
pub fn parse(text: &str) -> Result<Parsed, ShapeError> {
    parse_with_schema(text).map(|(parsed, _)| parsed)
}

/// The same, with the Avro library's own form beside it.
pub(crate) fn parse_with_schema(text: &str) -> Result<(Parsed, Schema), ShapeError> {
    let schema = parse_schema(text)?;
    let shape = Builder::default().shape(&schema, None, "")?;
    let on_the_wire = Schema::parse(&to_wire_json(&shape))
        .map_err(|error| fault(Rule::SchemaUnreadable, "", error.to_string()))?;
    let (fingerprint, library) = (fingerprint(&on_the_wire), fingerprint(&schema));
    let library_fingerprint = (library != fingerprint).then_some(library);
    Ok((Parsed { shape, fingerprint, library_fingerprint }, schema))
}

/// The Avro library's own form of a schema, after the limits.
fn parse_schema(text: &str) -> Result<Schema, ShapeError> {
    if text.len() > MAX_SCHEMA_BYTES {
        let reason = format!("{} bytes are over the limit of {MAX_SCHEMA_BYTES}", text.len());
        return Err(fault(Rule::SchemaTooLarge, "", reason));
    }
    let value = crate::json_text::parse(text)
        .map_err(|error| fault(Rule::SchemaUnreadable, "", format!("not JSON: {error}")))?;
    if depth(&value) > MAX_TEXT_DEPTH {
        return Err(fault(Rule::SchemaTooLarge, "", format!("nested deeper than {MAX_TEXT_DEPTH}")));
    }
    Schema::parse(&value).map_err(|error| fault(Rule::SchemaUnreadable, "", error.to_string()))
}

/// CRC-64-AVRO of what the library takes for the canonical form.
fn fingerprint(schema: &Schema) -> Fingerprint {
    let bytes = schema.fingerprint::<Rabin>().bytes;
    Fingerprint(bytes.try_into().expect("CRC-64 has eight bytes"))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn fault(rule: Rule, path: &str, reason: impl Into<String>) -> ShapeError {
    let reason = crate::failure::bounded_head(&reason.into(), 300);
    ShapeError { rule, path: path.to_owned(), reason }
}

#[derive(Default)]
struct Builder {
    nodes: usize,
    /// Named types by full name; `None` while one is being built, so that a reference to it shows.
    named: HashMap<String, Option<Shape>>,
}

impl Builder {
    fn shape(&mut self, schema: &Schema, namespace: Option<&str>, path: &str) -> Result<Shape, ShapeError> {
        self.count(1, path)?;
        match schema {
            Schema::Null => Ok(Shape::Scalar(Scalar::Null)),
            Schema::Boolean => Ok(Shape::Scalar(Scalar::Boolean)),
            Schema::Int => Ok(Shape::Scalar(Scalar::Int)),
            Schema::Long => Ok(Shape::Scalar(Scalar::Long)),
            Schema::Float => Ok(Shape::Scalar(Scalar::Float)),
            Schema::Double => Ok(Shape::Scalar(Scalar::Double)),
            Schema::Bytes => Ok(Shape::Scalar(Scalar::Bytes)),
            Schema::String => Ok(Shape::Scalar(Scalar::String)),
            Schema::TimestampMillis => Ok(Shape::Scalar(Scalar::TimestampMillis)),
            Schema::TimestampMicros => Ok(Shape::Scalar(Scalar::TimestampMicros)),
            Schema::Array(array) => {
                self.collection(&array.items, namespace, &format!("{path}[]")).map(Shape::Array)
            }
            Schema::Map(map) => {
                self.shape(&map.types, namespace, &format!("{path}{{}}")).map(Box::new).map(Shape::Map)
            }
            Schema::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.shape(branch, namespace, path));
                branches.collect::<Result<_, _>>().map(Shape::Union)
            }
            Schema::Enum(schema) => self.enumeration(schema, namespace, path),
            Schema::Record(schema) => self.record(schema, namespace, path),
            Schema::Ref { name } => self.reference(&name.fullname(namespace), path),
            Schema::Fixed(_)
            | Schema::Decimal(_)
            | Schema::BigDecimal
            | Schema::Uuid(_)
            | Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos
            | Schema::Duration(_) => {
                let kind = format!("{schema:?}");
                let kind = kind.split([' ', '(']).next().unwrap_or_default();
                Err(fault(Rule::TypeUnsupported, path, format!("{kind} is no type of the contract")))
            }
        }
    }

    /// An array whose items take no bytes could claim any length in a payload of a few.
    fn collection(
        &mut self,
        items: &Schema,
        namespace: Option<&str>,
        path: &str,
    ) -> Result<Box<Shape>, ShapeError> {
        let shape = self.shape(items, namespace, path)?;
        if shape.is_weightless() {
            let reason = format!("an array of {} takes no bytes, however long", shape.title());
            return Err(fault(Rule::TypeUnsupported, path, reason));
        }
        Ok(Box::new(shape))
    }

    fn enumeration(
        &mut self,
        schema: &EnumSchema,
        namespace: Option<&str>,
        path: &str,
    ) -> Result<Shape, ShapeError> {
        let name = self.new_name(&schema.name, namespace, path)?;
        let shape = Shape::Enum(EnumShape {
            name: name.clone(),
            doc: schema.doc.clone(),
            symbols: schema.symbols.clone(),
            default: schema.default.clone(),
        });
        self.named.insert(name, Some(shape.clone()));
        Ok(shape)
    }

    fn record(
        &mut self,
        schema: &RecordSchema,
        namespace: Option<&str>,
        path: &str,
    ) -> Result<Shape, ShapeError> {
        let name = self.new_name(&schema.name, namespace, path)?;
        self.named.insert(name.clone(), None);
        let inner = name.rsplit_once('.').map(|(space, _)| space.to_owned());
        let mut fields = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let path = join(path, &field.name);
            fields.push(FieldShape {
                name: field.name.clone(),
                doc: field.doc.clone(),
                aliases: field.aliases.clone(),
                default: field.default.clone(),
                shape: self.shape(&field.schema, inner.as_deref(), &path)?,
            });
        }
        let aliases = schema.aliases.iter().flatten().map(|alias| alias.fullname(inner.as_deref())).collect();
        let shape =
            Shape::Record(RecordShape { name: name.clone(), doc: schema.doc.clone(), aliases, fields });
        self.named.insert(name, Some(shape.clone()));
        Ok(shape)
    }

    /// The full name of a type that is defined here, and nowhere before.
    fn new_name(&self, name: &Name, namespace: Option<&str>, path: &str) -> Result<String, ShapeError> {
        let name = full_name(name, namespace, path)?;
        if self.named.contains_key(&name) {
            return Err(fault(Rule::SchemaUnreadable, path, format!("{name} is defined a second time")));
        }
        Ok(name)
    }

    fn reference(&mut self, name: &str, path: &str) -> Result<Shape, ShapeError> {
        match self.named.get(name) {
            Some(Some(shape)) => {
                let size = size(shape);
                let shape = shape.clone();
                self.count(size, path)?;
                Ok(shape)
            }
            Some(None) => Err(fault(
                Rule::RecursiveType,
                path,
                format!("{name} contains itself; a value could nest without end"),
            )),
            None => {
                Err(fault(Rule::SchemaUnreadable, path, format!("{name} is not defined before it is used")))
            }
        }
    }

    fn count(&mut self, nodes: usize, path: &str) -> Result<(), ShapeError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(fault(Rule::SchemaTooLarge, path, format!("more than {MAX_NODES} types")));
        }
        Ok(())
    }
}

fn full_name(name: &Name, namespace: Option<&str>, path: &str) -> Result<String, ShapeError> {
    let full = name.fullname(namespace);
    if full.contains('.') {
        return Ok(full);
    }
    Err(fault(Rule::NamespaceMissing, path, format!("{full} has no namespace")))
}

/// Types in a shape, with its symbols and the parts of its texts and defaults that take as much as a type: each use of a
/// named type is a copy of them.
fn size(shape: &Shape) -> usize {
    let text = |doc: &Option<String>| doc.as_ref().map_or(0, |doc| doc.len() / 128);
    let value = |default: &Option<Value>| default.as_ref().map_or(0, |value| value.to_string().len() / 8);
    1 + match shape {
        Shape::Array(inner) | Shape::Map(inner) => size(inner),
        Shape::Union(branches) => branches.iter().map(size).sum(),
        Shape::Record(record) => {
            let field = |field: &FieldShape| size(&field.shape) + text(&field.doc) + value(&field.default);
            text(&record.doc) + record.fields.iter().map(field).sum::<usize>()
        }
        Shape::Enum(shape) => text(&shape.doc) + shape.symbols.len(),
        Shape::Scalar(_) => 0,
    }
}

/// The path of a field.
pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

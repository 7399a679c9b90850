//! A schema as plain data: names resolved, bounded, without anything the contract does not use.
//!
//! The Avro library's own type keeps references between named types and follows them while it reads; a schema that
//! refers to itself can therefore use up the stack, and one whose references fan out can use up the memory. A
//! [`Shape`] is a finite tree of bounded size, so that whatever walks one (resolution, the compatibility rules, the
//! documentation) needs no guard of its own. What cannot be such a tree is refused with the name of the rule.

mod build;
mod default;
mod json;

use serde_json::Value;

pub use build::{MAX_SCHEMA_BYTES, Parsed, parse};
pub(crate) use build::{join, parse_with_schema};
pub(crate) use default::{encode_default, write_long};
pub(crate) use json::to_json;

/// A type of the contract.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are Avro's")]
pub enum Shape {
    Scalar(Scalar),
    Array(Box<Shape>),
    Map(Box<Shape>),
    Union(Vec<Shape>),
    Enum(EnumShape),
    Record(RecordShape),
}

/// A type without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Avro's")]
pub enum Scalar {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// A long that counts milliseconds since 1970.
    TimestampMillis,
    /// A long that counts microseconds since 1970.
    TimestampMicros,
}

impl Scalar {
    /// What it is called in a schema; a time by its logical type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::TimestampMillis => "timestamp-millis",
            Self::TimestampMicros => "timestamp-micros",
        }
    }

    /// True for the longs that count time.
    pub fn is_time(self) -> bool {
        matches!(self, Self::TimestampMillis | Self::TimestampMicros)
    }
}

/// A closed set of symbols.
#[derive(Debug, Clone, PartialEq)]
pub struct EnumShape {
    /// Name with its namespace.
    pub name: String,
    /// What it is.
    pub doc: Option<String>,
    /// The symbols, in the order of their numbers.
    pub symbols: Vec<String>,
    /// What a reader takes for a symbol it does not know.
    pub default: Option<String>,
}

/// Named fields in order.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordShape {
    /// Name with its namespace.
    pub name: String,
    /// What it is.
    pub doc: Option<String>,
    /// Other names the record is read under.
    pub aliases: Vec<String>,
    /// The fields.
    pub fields: Vec<FieldShape>,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldShape {
    /// Its name.
    pub name: String,
    /// What it is, with its unit.
    pub doc: Option<String>,
    /// Other names the field is read under.
    pub aliases: Vec<String>,
    /// What a reader takes when a writer did not have the field.
    pub default: Option<Value>,
    /// Its type.
    pub shape: Shape,
}

impl Shape {
    /// The type of nothing.
    pub const NULL: Self = Self::Scalar(Scalar::Null);

    /// What the type is called in messages: `long`, `array`, `cerebros.events.Budget`.
    pub fn title(&self) -> &str {
        match self {
            Self::Scalar(scalar) => scalar.as_str(),
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Enum(shape) => &shape.name,
            Self::Record(shape) => &shape.name,
        }
    }

    /// The record this is, if it is one.
    pub fn as_record(&self) -> Option<&RecordShape> {
        if let Self::Record(record) = self { Some(record) } else { None }
    }

    /// True when no value of the type takes a byte, so that a collection of it could claim any length.
    pub(crate) fn is_weightless(&self) -> bool {
        match self {
            Self::Scalar(scalar) => *scalar == Scalar::Null,
            Self::Record(record) => record.fields.iter().all(|field| field.shape.is_weightless()),
            Self::Array(_) | Self::Map(_) | Self::Union(_) | Self::Enum(_) => false,
        }
    }
}

/// Why a schema is none the contract can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: at `{path}`: {reason}")]
pub struct ShapeError {
    /// The rule that is broken.
    pub rule: crate::rule::Rule,
    /// Where in the schema.
    pub path: String,
    /// What was found there.
    pub reason: String,
}

//! Data made from a schema, and what each reader makes of it.
//!
//! The values are chosen, not drawn: every branch of every union, every symbol, both ends of every number, empty and
//! filled collections, one difference at a time. The same data always comes out, so that a verdict can be repeated.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

use super::{Fault, Rule};
use crate::resolution::Resolution;
use crate::shape::{RecordShape, Scalar, Shape};

/// Most values made of one schema.
const MAX_SAMPLES: usize = 512;

/// Values of a schema, as the Avro library holds them.
pub fn samples(shape: &Shape) -> Vec<Value> {
    let mut samples = values(shape);
    samples.truncate(MAX_SAMPLES);
    samples
}

/// The samples as a writer with this schema would put them on the wire, without the single-object header.
pub fn encoded_samples(shape: &Shape) -> Vec<Vec<u8>> {
    let schema = schema_of(shape).expect("a shape is a schema");
    let writer = GenericDatumWriter::builder(&schema).build().expect("a shape holds no open reference");
    let encode = |sample| writer.write_value_to_vec(sample).expect("a sample is a value of its schema");
    samples(shape).into_iter().map(encode).collect()
}

/// Reads every sample of the writer with the reader, by our resolution and by the library's, and names what differs.
/// Both shapes have passed the rules, so a disagreement is a defect of one of the three.
pub fn prove(writer: &Shape, reader: &Shape) -> Vec<Fault> {
    let proved = Probe::new(writer, reader)
        .and_then(|probe| samples(writer).into_iter().try_for_each(|sample| probe.compare(sample)));
    match proved {
        Ok(()) => Vec::new(),
        Err(reason) => vec![Fault::new(Rule::DecodeDisagrees, "", reason)],
    }
}

struct Probe {
    writer: Schema,
    reader: Schema,
    resolution: Resolution,
}

impl Probe {
    fn new(writer: &Shape, reader: &Shape) -> Result<Self, String> {
        let resolution = Resolution::new(writer, reader)
            .map_err(|mismatches| format!("no resolution: {}", mismatches[0].reason))?;
        Ok(Self { writer: schema_of(writer)?, reader: schema_of(reader)?, resolution })
    }

    fn compare(&self, sample: Value) -> Result<(), String> {
        let text = |error: apache_avro::Error| error.to_string();
        let writer = GenericDatumWriter::builder(&self.writer).build().map_err(text)?;
        let bytes = writer.write_value_to_vec(sample.clone()).map_err(text)?;
        let resolving =
            GenericDatumReader::builder(&self.writer).reader_schema(&self.reader).build().map_err(text)?;
        let theirs = resolving.read_value(&mut bytes.as_slice()).map_err(text)?;
        let resolved =
            self.resolution.resolve(&bytes).map_err(|error| format!("{sample:?}: {}", error.reason))?;
        let plain = GenericDatumReader::builder(&self.reader).build().map_err(text)?;
        let mut rest = resolved.as_slice();
        let ours = plain.read_value(&mut rest).map_err(text)?;
        if rest.is_empty() && same(&ours, &theirs) {
            return Ok(());
        }
        Err(format!("{sample:?} was read as {ours:?} here and as {theirs:?} by the Avro library"))
    }
}

/// NaN is itself here.
fn same(a: &Value, b: &Value) -> bool {
    format!("{:?}", ordered(a)) == format!("{:?}", ordered(b))
}

/// Maps in an order of their own.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: what is no container stays as it is")]
fn ordered(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let mut entries: Vec<(String, Value)> =
                map.iter().map(|(key, value)| (key.clone(), ordered(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Record(entries)
        }
        Value::Record(fields) => {
            Value::Record(fields.iter().map(|(name, value)| (name.clone(), ordered(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(ordered).collect()),
        Value::Union(branch, value) => Value::Union(*branch, Box::new(ordered(value))),
        other => other.clone(),
    }
}

fn schema_of(shape: &Shape) -> Result<Schema, String> {
    Schema::parse(&crate::shape::to_json(shape)).map_err(|error| error.to_string())
}

fn values(shape: &Shape) -> Vec<Value> {
    match shape {
        Shape::Scalar(scalar) => scalars(*scalar),
        Shape::Array(items) => {
            let items = values(items);
            let all = Value::Array(items.iter().take(8).cloned().collect());
            let mut lists = vec![all, Value::Array(Vec::new())];
            lists.extend(items.into_iter().map(|item| Value::Array(vec![item])));
            lists
        }
        Shape::Map(inner) => {
            let entry = |value: Value| Value::Map(HashMap::from([("k".to_owned(), value)]));
            let mut maps: Vec<Value> = values(inner).into_iter().map(entry).collect();
            maps.push(Value::Map(HashMap::new()));
            maps
        }
        Shape::Union(branches) => {
            let branch = |(index, shape): (usize, &Shape)| {
                let index = u32::try_from(index).expect("a union of a bounded schema");
                values(shape).into_iter().map(move |value| Value::Union(index, Box::new(value)))
            };
            // The last branch first: the first is null nearly everywhere.
            branches.iter().enumerate().rev().flat_map(branch).collect()
        }
        Shape::Enum(shape) => {
            let symbol = |(index, symbol): (usize, &String)| {
                Value::Enum(u32::try_from(index).expect("an enum of a bounded schema"), symbol.clone())
            };
            shape.symbols.iter().enumerate().map(symbol).collect()
        }
        Shape::Record(record) => records(record),
    }
}

fn scalars(scalar: Scalar) -> Vec<Value> {
    match scalar {
        Scalar::Null => vec![Value::Null],
        Scalar::Boolean => vec![Value::Boolean(true), Value::Boolean(false)],
        Scalar::Int => [1, 0, -1, i32::MAX, i32::MIN].map(Value::Int).to_vec(),
        Scalar::Long => [1, 0, -1, i64::MAX, i64::MIN].map(Value::Long).to_vec(),
        Scalar::TimestampMillis => [1, -1].map(Value::TimestampMillis).to_vec(),
        Scalar::TimestampMicros => [1, -1].map(Value::TimestampMicros).to_vec(),
        Scalar::Float => [0.5, f32::NAN, f32::INFINITY].map(Value::Float).to_vec(),
        Scalar::Double => [0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Value::Double).to_vec(),
        Scalar::Bytes => [&b"ab"[..], b"", b"\xff\xfe"].map(|bytes| Value::Bytes(bytes.to_vec())).to_vec(),
        Scalar::String => ["a", "", "é"].map(|text| Value::String(text.to_owned())).to_vec(),
    }
}

/// One record with the first value of every field, and one for each other value of each field.
fn records(record: &RecordShape) -> Vec<Value> {
    let choices: Vec<(&str, Vec<Value>)> =
        record.fields.iter().map(|field| (field.name.as_str(), values(&field.shape))).collect();
    let base: Vec<(String, Value)> =
        choices.iter().map(|(name, values)| ((*name).to_owned(), values[0].clone())).collect();
    let mut records = vec![Value::Record(base.clone())];
    for (place, (_, values)) in choices.iter().enumerate() {
        for value in values.iter().skip(1) {
            if records.len() >= MAX_SAMPLES {
                return records;
            }
            let mut fields = base.clone();
            fields[place].1 = value.clone();
            records.push(Value::Record(fields));
        }
    }
    records
}

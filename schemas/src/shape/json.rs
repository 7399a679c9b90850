//! A shape as a schema again, each named type written out where it is first used.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Shape;

/// The schema of a shape, without documentation.
pub(crate) fn to_json(shape: &Shape) -> Value {
    write(shape, true, &mut HashSet::new())
}

/// The schema of what is on the wire, without what the bytes do not show.
pub(super) fn to_wire_json(shape: &Shape) -> Value {
    write(shape, false, &mut HashSet::new())
}

fn write(shape: &Shape, is_logical: bool, named: &mut HashSet<String>) -> Value {
    match shape {
        Shape::Array(items) => json!({ "type": "array", "items": write(items, is_logical, named) }),
        Shape::Map(values) => json!({ "type": "map", "values": write(values, is_logical, named) }),
        Shape::Union(branches) => branches.iter().map(|branch| write(branch, is_logical, named)).collect(),
        Shape::Scalar(scalar) if !scalar.is_time() => scalar.as_str().into(),
        Shape::Scalar(_) if !is_logical => "long".into(),
        Shape::Scalar(time) => json!({ "type": "long", "logicalType": time.as_str() }),
        Shape::Enum(shape) if !named.insert(shape.name.clone()) => shape.name.as_str().into(),
        Shape::Enum(shape) => {
            let mut value = json!({ "type": "enum", "name": shape.name, "symbols": shape.symbols });
            if let Some(default) = &shape.default {
                value["default"] = default.as_str().into();
            }
            value
        }
        Shape::Record(record) if !named.insert(record.name.clone()) => record.name.as_str().into(),
        Shape::Record(record) => {
            let mut fields = Vec::with_capacity(record.fields.len());
            for field in &record.fields {
                let mut value = json!({ "name": field.name, "type": write(&field.shape, is_logical, named) });
                if let Some(default) = &field.default {
                    value["default"] = default.clone();
                }
                fields.push(value);
            }
            json!({ "type": "record", "name": record.name, "fields": fields })
        }
    }
}

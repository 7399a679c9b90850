//! What a schema must not contain, whatever the other versions are.

use super::{Fault, Rule};
use crate::shape::{FieldShape, RecordShape, Scalar, Shape, encode_default, join};

pub(super) fn lint(shape: &Shape) -> Vec<Fault> {
    let mut faults = Vec::new();
    walk(shape, "", &mut faults);
    faults
}

fn walk(shape: &Shape, path: &str, faults: &mut Vec<Fault>) {
    match shape {
        Shape::Array(items) => walk(items, &format!("{path}[]"), faults),
        Shape::Map(values) => walk(values, &format!("{path}{{}}"), faults),
        Shape::Union(branches) => union(branches, path, faults),
        Shape::Enum(shape) => {
            documented(&shape.name, shape.doc.as_ref(), path, faults);
            if let Some(default) = shape.default.as_ref().filter(|default| !shape.symbols.contains(default)) {
                let reason = format!("the default \"{default}\" is no symbol of {}", shape.name);
                faults.push(Fault::new(Rule::DefaultInvalid, path, reason));
            }
        }
        Shape::Record(record) => fields(record, path, faults),
        Shape::Scalar(_) => {}
    }
}

fn fields(record: &RecordShape, path: &str, faults: &mut Vec<Fault>) {
    documented(&record.name, record.doc.as_ref(), path, faults);
    for field in &record.fields {
        let path = join(path, &field.name);
        documented(&field.name, field.doc.as_ref(), &path, faults);
        aliases(field, &path, faults);
        default(field, &path, faults);
        walk(&field.shape, &path, faults);
    }
}

fn documented(name: &str, doc: Option<&String>, path: &str, faults: &mut Vec<Fault>) {
    if doc.is_none_or(|doc| doc.trim().is_empty()) {
        faults.push(Fault::new(Rule::DocMissing, path, format!("{name} has no doc")));
    }
}

fn aliases(field: &FieldShape, path: &str, faults: &mut Vec<Fault>) {
    if !field.aliases.is_empty() {
        let reason = format!(
            "\"{}\" is read as \"{}\" by some libraries and as its default by others; add a field instead of renaming one",
            field.aliases.join("\", \""),
            field.name
        );
        faults.push(Fault::new(Rule::FieldAlias, path, reason));
    }
}

fn default(field: &FieldShape, path: &str, faults: &mut Vec<Fault>) {
    let Some(value) = &field.default else { return };
    if encode_default(&field.shape, value, &mut Vec::new()).is_none() {
        let branches = if let Shape::Union(branches) = &field.shape { branches.first() } else { None };
        let kind = branches.unwrap_or(&field.shape).title();
        faults.push(Fault::new(Rule::DefaultInvalid, path, format!("{value} is no {kind}")));
    }
}

/// Several records, or a record beside a map, can be taken for each other in JSON and are by the Rust library in Avro.
fn union(branches: &[Shape], path: &str, faults: &mut Vec<Fault>) {
    let count = |is: fn(&Shape) -> bool| branches.iter().filter(|branch| is(branch)).count();
    let objects = count(|branch| matches!(branch, Shape::Record(_) | Shape::Map(_)));
    let texts =
        count(|branch| matches!(branch, Shape::Scalar(Scalar::String | Scalar::Bytes) | Shape::Enum(_)));
    let numbers = count(|branch| match branch {
        Shape::Scalar(scalar) => {
            !matches!(scalar, Scalar::Null | Scalar::Boolean | Scalar::String | Scalar::Bytes)
        }
        Shape::Array(_) | Shape::Map(_) | Shape::Union(_) | Shape::Enum(_) | Shape::Record(_) => false,
    });
    if objects > 1 || texts > 1 || numbers > 1 {
        let titles: Vec<&str> = branches.iter().map(Shape::title).collect();
        let reason = format!("[{}]: a value could be taken for more than one", titles.join(", "));
        faults.push(Fault::new(Rule::AmbiguousUnion, path, reason));
    }
    branches.iter().for_each(|branch| walk(branch, path, faults));
}

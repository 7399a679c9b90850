//! What the next version of a schema must not change.

use super::{Fault, Rule};
use crate::resolution::{Mismatch, MismatchKind, Resolution};
use crate::shape::{EnumShape, FieldShape, RecordShape, Shape, encode_default, join};

/// Both directions, and what decodes but means something else.
pub(super) fn compare(older: &Shape, newer: &Shape) -> Vec<Fault> {
    let backward = Resolution::new(older, newer).err().unwrap_or_default();
    let forward = Resolution::new(newer, older).err().unwrap_or_default();
    let backward = backward.into_iter().map(|mismatch| fault(mismatch, Reader::Newer));
    let forward = forward.into_iter().map(|mismatch| fault(mismatch, Reader::Older));
    let mut faults: Vec<Fault> = backward.chain(forward).collect();
    meaning(older, newer, "", &mut faults);
    faults.sort_by(|a, b| (&a.field, a.rule, &a.reason).cmp(&(&b.field, b.rule, &b.reason)));
    faults.dedup_by(|a, b| a.field == b.field && a.rule == b.rule);
    faults
}

#[derive(Clone, Copy)]
enum Reader {
    Newer,
    Older,
}

fn fault(mismatch: Mismatch, reader: Reader) -> Fault {
    let rule = match (mismatch.kind, reader) {
        (MismatchKind::FieldMissing, Reader::Newer) => Rule::FieldAddedWithoutDefault,
        (MismatchKind::FieldMissing, Reader::Older) => Rule::FieldRemovedWithoutDefault,
        (MismatchKind::Type, _) => Rule::TypeChanged,
        (MismatchKind::LogicalType, _) => Rule::LogicalTypeChanged,
        (MismatchKind::Name, _) => Rule::NameChanged,
        (MismatchKind::Union, _) => Rule::UnionChanged,
        (MismatchKind::Symbol, _) => Rule::EnumSymbolUnknown,
    };
    let direction = match reader {
        Reader::Newer => "the newer version reads the older",
        Reader::Older => "the older version reads the newer",
    };
    Fault::new(rule, mismatch.path, format!("when {direction}: {}", mismatch.reason))
}

/// Defaults are part of the meaning: a JSON message without the field says whatever the reader's default says.
fn meaning(older: &Shape, newer: &Shape, path: &str, faults: &mut Vec<Fault>) {
    match (older, newer) {
        (Shape::Array(older), Shape::Array(newer)) => meaning(older, newer, &format!("{path}[]"), faults),
        (Shape::Map(older), Shape::Map(newer)) => meaning(older, newer, &format!("{path}{{}}"), faults),
        (Shape::Union(older), Shape::Union(newer)) => {
            for branch in older {
                let same = newer.iter().find(|other| other.title() == branch.title());
                same.into_iter().for_each(|other| meaning(branch, other, path, faults));
            }
        }
        (Shape::Enum(older), Shape::Enum(newer)) => symbols(older, newer, path, faults),
        (Shape::Record(older), Shape::Record(newer)) => defaults(older, newer, path, faults),
        _ => {}
    }
}

fn symbols(older: &EnumShape, newer: &EnumShape, path: &str, faults: &mut Vec<Fault>) {
    if older.default != newer.default {
        let reason = format!("{:?} became {:?}", older.default, newer.default);
        faults.push(Fault::new(Rule::DefaultChanged, path, reason));
    }
}

/// 0 and 0.0 are the same double: what counts is what a reader takes.
fn is_same_default(field: &FieldShape, other: &FieldShape) -> bool {
    let encoded = |field: &FieldShape| {
        let mut bytes = Vec::new();
        field.default.as_ref().map(|value| encode_default(&field.shape, value, &mut bytes).map(|()| bytes))
    };
    field.default == other.default || (field.shape == other.shape && encoded(field) == encoded(other))
}

fn defaults(older: &RecordShape, newer: &RecordShape, path: &str, faults: &mut Vec<Fault>) {
    for field in &older.fields {
        let Some(other) = newer.fields.iter().find(|other| other.name == field.name) else { continue };
        let path = join(path, &field.name);
        if !is_same_default(field, other) {
            let text = |value: &Option<serde_json::Value>| {
                value.as_ref().map_or_else(|| "no default".to_owned(), ToString::to_string)
            };
            let reason = format!("{} became {}", text(&field.default), text(&other.default));
            faults.push(Fault::new(Rule::DefaultChanged, &path, reason));
        }
        meaning(&field.shape, &other.shape, &path, faults);
    }
}

//! The fields of a record as rows for people: path, type, default, what it is.

use schemas::json_schema;
use schemas::shape::{FieldShape, RecordShape, Shape};

/// One field, at whatever depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Path from the record: `budget.max_trials`, `artifact_refs[].uri`.
    pub(crate) path: String,
    /// Its type in words.
    pub(crate) kind: String,
    /// Its default as JSON, or `required`.
    pub(crate) default: String,
    /// What it is, with unit and symbols.
    pub(crate) doc: String,
}

/// Every field, those of nested records below the field that holds them.
pub(crate) fn of(record: &RecordShape) -> Vec<Field> {
    let mut fields = Vec::new();
    add(record, "", &mut fields);
    fields
}

fn add(record: &RecordShape, prefix: &str, fields: &mut Vec<Field>) {
    for field in &record.fields {
        let path = format!("{prefix}{}", field.name);
        fields.push(Field {
            path: path.clone(),
            kind: if json_schema::is_free_form(field) { "any JSON".to_owned() } else { kind(&field.shape) },
            default: default(field),
            doc: doc(record, field),
        });
        let (inner, suffix) = inside(&field.shape);
        if let Shape::Record(inner) = inner {
            add(inner, &format!("{path}{suffix}."), fields);
        }
    }
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Array(items) => format!("list of {}", kind(items)),
        Shape::Map(values) => format!("map of {}", kind(values)),
        Shape::Union(branches) => {
            let mut kinds: Vec<String> = branches.iter().map(kind).collect();
            kinds.sort_by_key(|kind| kind == "null");
            kinds.join(" or ")
        }
        Shape::Scalar(scalar) if scalar.is_time() => "timestamp".to_owned(),
        Shape::Scalar(scalar) => scalar.as_str().to_owned(),
        Shape::Enum(_) | Shape::Record(_) => json_schema::short(shape.title()).to_owned(),
    }
}

/// A record as a default is all of its own defaults, which stand in the rows below.
fn default(field: &FieldShape) -> String {
    match json_schema::default(field) {
        None => "required".to_owned(),
        Some(_) if matches!(field.shape, Shape::Record(_)) => "as below".to_owned(),
        Some(value) => value.to_string(),
    }
}

fn doc(record: &RecordShape, field: &FieldShape) -> String {
    let doc = field.doc.as_deref().unwrap_or_default();
    let mut doc = doc.strip_prefix(json_schema::FREE_FORM).unwrap_or(doc).trim().to_owned();
    if let (Shape::Enum(shape), _) = inside(&field.shape) {
        doc += &format!(" One of: {}.", shape.symbols.join(", "));
    }
    if let Some(demand) = json_schema::demand(record, field) {
        doc += &format!(" Must be: {demand}.");
    }
    doc
}

/// What is inside of lists, maps and nullable types, and how a path goes on there.
fn inside(shape: &Shape) -> (&Shape, &'static str) {
    match shape {
        Shape::Array(items) => (inside(items).0, "[]"),
        Shape::Map(values) => (inside(values).0, "{}"),
        Shape::Union(branches) => {
            let value = branches.iter().find(|branch| **branch != Shape::NULL);
            value.map_or((shape, ""), inside)
        }
        Shape::Scalar(_) | Shape::Enum(_) | Shape::Record(_) => (shape, ""),
    }
}

#[cfg(test)]
mod tests {
    use schemas::Record;

    use super::*;

    #[test]
    fn nested_fields_have_paths_and_free_form_parts_are_json() {
        let fields = of(Record::RunRequested.latest().shape.as_record().unwrap());
        let row = |path: &str| fields.iter().find(|field| field.path == path).unwrap();
        assert_eq!(row("dataset_id").default, "required");
        assert_eq!(row("budget.max_trials").default, "10");
        assert_eq!(row("budget").default, "as below");
        assert_eq!((row("extra").kind.as_str(), row("extra").default.as_str()), ("any JSON", "{}"));
        assert!(row("direction").doc.ends_with("One of: maximize, minimize."));
        let fields = of(Record::TrialReported.latest().shape.as_record().unwrap());
        assert!(fields.iter().any(|field| field.path == "artifact_refs[].uri"));
        assert!(fields.iter().any(|field| field.path == "failure.class"));
    }
}

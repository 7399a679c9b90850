//! Which part of the writer's value becomes which part of the reader's. The Avro specification's rules, read strictly.

use std::collections::HashMap;

use crate::shape::{EnumShape, RecordShape, Scalar, Shape, encode_default, join};

/// What to do with a value of the writer's.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    /// Both write the same bytes.
    Copy(Shape),
    /// A number that becomes a float or a double.
    Widen { from: Scalar, to: Scalar },
    /// Each item by a plan.
    Array(Box<Plan>),
    /// Each value by a plan.
    Map(Box<Plan>),
    /// The reader's number of each symbol of the writer's.
    Enum(Vec<usize>),
    /// A plain value that becomes a branch of the reader's union.
    IntoUnion { branch: usize, plan: Box<Plan> },
    /// A branch of the writer's union, each by its plan.
    FromUnion(Vec<Plan>),
    /// The writer's fields in order, and what the reader has beside them.
    Record { fields: Vec<FieldPlan>, defaults: Vec<(usize, Vec<u8>)>, width: usize },
}

/// A field of the writer's.
#[derive(Debug, Clone)]
pub(super) struct FieldPlan {
    pub(super) name: String,
    /// How it is skipped when the reader has no such field.
    pub(super) shape: Shape,
    /// Its place in the reader's record, and how it gets there.
    pub(super) target: Option<(usize, Plan)>,
}

/// How a reader fails to read a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MismatchKind {
    /// The reader wants a field the writer has not, and has no default for it.
    FieldMissing,
    /// The types do not fit.
    Type,
    /// The bytes fit and mean something else.
    LogicalType,
    /// Named types with different names.
    Name,
    /// No branch of the reader's union takes it, or the reader has no union.
    Union,
    /// A symbol the reader does not know.
    Symbol,
}

/// One reason why a reader cannot read a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where in the schema.
    pub path: String,
    /// What does not fit.
    pub kind: MismatchKind,
    /// Both sides in words.
    pub reason: String,
}

pub(super) fn plan(writer: &Shape, reader: &Shape) -> Result<Plan, Vec<Mismatch>> {
    let mut planner = Planner::default();
    match planner.plan(writer, reader, "") {
        Some(plan) if planner.mismatches.is_empty() => Ok(plan),
        Some(_) | None => Err(planner.mismatches),
    }
}

#[derive(Default)]
struct Planner {
    mismatches: Vec<Mismatch>,
}

impl Planner {
    /// `None` when something was put on the list.
    fn plan(&mut self, writer: &Shape, reader: &Shape, path: &str) -> Option<Plan> {
        match (writer, reader) {
            (Shape::Union(branches), reader) => self.written_union(branches, reader, path),
            (writer, Shape::Union(branches)) => self.read_union(writer, branches, path),
            (Shape::Array(writer), Shape::Array(reader)) => {
                self.plan(writer, reader, &format!("{path}[]")).map(Box::new).map(Plan::Array)
            }
            (Shape::Map(writer), Shape::Map(reader)) => {
                self.plan(writer, reader, &format!("{path}{{}}")).map(Box::new).map(Plan::Map)
            }
            (Shape::Enum(writer), Shape::Enum(reader)) => self.symbols(writer, reader, path),
            (Shape::Record(writer), Shape::Record(reader)) => self.record(writer, reader, path),
            (Shape::Scalar(writer), Shape::Scalar(reader)) => self.scalar(*writer, *reader, path),
            (writer, reader) => self.miss(path, MismatchKind::Type, writer.title(), reader.title()),
        }
    }

    fn scalar(&mut self, writer: Scalar, reader: Scalar, path: &str) -> Option<Plan> {
        use Scalar::{Bytes, Double, Float, Int, Long, String};
        match (writer, reader) {
            (writer, reader) if writer == reader => Some(Plan::Copy(Shape::Scalar(writer))),
            (Int, Long) | (Bytes, String) | (String, Bytes) => Some(Plan::Copy(Shape::Scalar(writer))),
            (Int | Long, Float | Double) | (Float, Double) => Some(Plan::Widen { from: writer, to: reader }),
            (Int | Long, time) | (time, Int | Long) if time.is_time() => {
                self.miss(path, MismatchKind::LogicalType, writer.as_str(), reader.as_str())
            }
            (one, other) if one.is_time() && other.is_time() => {
                self.miss(path, MismatchKind::LogicalType, writer.as_str(), reader.as_str())
            }
            _ => self.miss(path, MismatchKind::Type, writer.as_str(), reader.as_str()),
        }
    }

    fn written_union(&mut self, branches: &[Shape], reader: &Shape, path: &str) -> Option<Plan> {
        let Shape::Union(known) = reader else {
            let Some(unreadable) = branches.iter().find(|branch| plan(branch, reader).is_err()) else {
                let plans = branches.iter().map(|branch| self.plan(branch, reader, path));
                return plans.collect::<Option<Vec<_>>>().map(Plan::FromUnion);
            };
            let reason = format!(
                "{} or {}: the reader has only {}",
                unreadable.title(),
                titles(branches),
                reader.title()
            );
            self.mismatches.push(Mismatch { path: path.to_owned(), kind: MismatchKind::Union, reason });
            return None;
        };
        let plans: Vec<Option<Plan>> =
            branches.iter().map(|branch| self.read_union(branch, known, path)).collect();
        plans.into_iter().collect::<Option<Vec<_>>>().map(Plan::FromUnion)
    }

    /// The branch of the same type; else the first that can read it. What a branch of the same name lacks is said.
    fn read_union(&mut self, writer: &Shape, branches: &[Shape], path: &str) -> Option<Plan> {
        let into = |(branch, plan): (usize, Plan)| Plan::IntoUnion { branch, plan: Box::new(plan) };
        let same_kind = |branch: &&Shape| branch.title() == writer.title();
        let exact = branches.iter().position(|branch| same_kind(&branch));
        if let Some(branch) = exact {
            return self.plan(writer, &branches[branch], path).map(|plan| into((branch, plan)));
        }
        let readable = branches
            .iter()
            .enumerate()
            .find_map(|(index, branch)| plan(writer, branch).ok().map(|plan| (index, plan)));
        if readable.is_none() {
            let reason = format!("{} is no branch of the reader's {}", writer.title(), titles(branches));
            self.mismatches.push(Mismatch { path: path.to_owned(), kind: MismatchKind::Union, reason });
        }
        readable.map(into)
    }

    fn symbols(&mut self, writer: &EnumShape, reader: &EnumShape, path: &str) -> Option<Plan> {
        self.same_name(&writer.name, &reader.name, path)?;
        let number_of = |symbol: &String| reader.symbols.iter().position(|known| known == symbol);
        let default = reader.default.as_ref().and_then(number_of);
        let mut numbers = Vec::with_capacity(writer.symbols.len());
        for symbol in &writer.symbols {
            match number_of(symbol).or(default) {
                Some(number) => numbers.push(number),
                None => {
                    let reason =
                        format!("the reader does not know \"{symbol}\" and has no default to take for it");
                    self.mismatches.push(Mismatch {
                        path: path.to_owned(),
                        kind: MismatchKind::Symbol,
                        reason,
                    });
                }
            }
        }
        (numbers.len() == writer.symbols.len()).then_some(Plan::Enum(numbers))
    }

    fn record(&mut self, writer: &RecordShape, reader: &RecordShape, path: &str) -> Option<Plan> {
        self.same_name(&writer.name, &reader.name, path)?;
        let places: HashMap<&str, usize> =
            reader.fields.iter().enumerate().map(|(index, field)| (field.name.as_str(), index)).collect();
        let before = self.mismatches.len();
        let mut fields = Vec::with_capacity(writer.fields.len());
        let mut is_written = vec![false; reader.fields.len()];
        for field in &writer.fields {
            let target = places.get(field.name.as_str()).and_then(|place| {
                is_written[*place] = true;
                let plan = self.plan(&field.shape, &reader.fields[*place].shape, &join(path, &field.name))?;
                Some((*place, plan))
            });
            fields.push(FieldPlan { name: field.name.clone(), shape: field.shape.clone(), target });
        }
        let defaults = self.defaults(reader, &is_written, path);
        let width = reader.fields.len();
        (self.mismatches.len() == before).then_some(Plan::Record { fields, defaults, width })
    }

    fn defaults(&mut self, reader: &RecordShape, is_written: &[bool], path: &str) -> Vec<(usize, Vec<u8>)> {
        let mut defaults = Vec::new();
        for (place, field) in reader.fields.iter().enumerate().filter(|(place, _)| !is_written[*place]) {
            let mut bytes = Vec::new();
            let encoded =
                field.default.as_ref().and_then(|value| encode_default(&field.shape, value, &mut bytes));
            if encoded.is_some() {
                defaults.push((place, bytes));
                continue;
            }
            let reason = format!("the writer has no \"{}\" and the reader no default for it", field.name);
            let path = join(path, &field.name);
            self.mismatches.push(Mismatch { path, kind: MismatchKind::FieldMissing, reason });
        }
        defaults
    }

    fn same_name(&mut self, writer: &str, reader: &str, path: &str) -> Option<()> {
        if writer == reader {
            return Some(());
        }
        let reason = format!("{writer} is not {reader}");
        self.mismatches.push(Mismatch { path: path.to_owned(), kind: MismatchKind::Name, reason });
        None
    }

    fn miss(&mut self, path: &str, kind: MismatchKind, writer: &str, reader: &str) -> Option<Plan> {
        let reason = format!("{writer} cannot be read as {reader}");
        self.mismatches.push(Mismatch { path: path.to_owned(), kind, reason });
        None
    }
}

fn titles(branches: &[Shape]) -> String {
    let titles: Vec<&str> = branches.iter().map(Shape::title).collect();
    format!("[{}]", titles.join(", "))
}

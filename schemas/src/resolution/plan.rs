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

/// Everything that does not fit is on the list; the only proof that something is there.
#[derive(Debug, Clone, Copy)]
struct Listed;

type Planned<T> = Result<T, Listed>;

pub(super) fn plan(writer: &Shape, reader: &Shape) -> Result<Plan, Vec<Mismatch>> {
    let mut planner = Planner::default();
    planner.plan(writer, reader, "").map_err(|Listed| planner.mismatches)
}

#[derive(Default)]
struct Planner {
    mismatches: Vec<Mismatch>,
}

impl Planner {
    fn plan(&mut self, writer: &Shape, reader: &Shape, path: &str) -> Planned<Plan> {
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
            (writer, reader) => Err(self.unlike(path, MismatchKind::Type, writer.title(), reader.title())),
        }
    }

    fn scalar(&mut self, writer: Scalar, reader: Scalar, path: &str) -> Planned<Plan> {
        use Scalar::{Bytes, Double, Float, Int, Long, String};
        let kind = match (writer, reader) {
            (writer, reader) if writer == reader => return Ok(Plan::Copy(Shape::Scalar(writer))),
            // Not the other way round: bytes need be no text.
            (Int, Long) | (String, Bytes) => return Ok(Plan::Copy(Shape::Scalar(writer))),
            (Int | Long, Float | Double) | (Float, Double) => {
                return Ok(Plan::Widen { from: writer, to: reader });
            }
            (Int | Long, time) | (time, Int | Long) if time.is_time() => MismatchKind::LogicalType,
            (one, other) if one.is_time() && other.is_time() => MismatchKind::LogicalType,
            _ => MismatchKind::Type,
        };
        Err(self.unlike(path, kind, writer.as_str(), reader.as_str()))
    }

    /// Each branch by itself, into a branch of the reader's or into its plain type.
    fn written_union(&mut self, branches: &[Shape], reader: &Shape, path: &str) -> Planned<Plan> {
        if let Shape::Union(known) = reader {
            let plans: Vec<Planned<Plan>> =
                branches.iter().map(|branch| self.read_union(branch, known, path)).collect();
            return plans.into_iter().collect::<Planned<Vec<_>>>().map(Plan::FromUnion);
        }
        let unreadable = |branch| plan(branch, reader).err().map(|mismatches| (branch, mismatches));
        if let Some((branch, mismatches)) = branches.iter().find_map(unreadable) {
            let is_meaning = mismatches.iter().all(|miss| miss.kind == MismatchKind::LogicalType);
            let kind = if is_meaning { MismatchKind::LogicalType } else { MismatchKind::Union };
            let (one, all) = (branch.title(), titles(branches));
            return Err(self.list(
                path,
                kind,
                format!("{one} of {all}: the reader has only {}", reader.title()),
            ));
        }
        let plans = branches.iter().map(|branch| self.plan(branch, reader, path));
        plans.collect::<Planned<Vec<_>>>().map(Plan::FromUnion)
    }

    /// The branch of the same type; else the first that can read it. What a branch of the same name lacks is said.
    fn read_union(&mut self, writer: &Shape, branches: &[Shape], path: &str) -> Planned<Plan> {
        let into = |branch: usize, plan: Plan| Plan::IntoUnion { branch, plan: Box::new(plan) };
        if let Some(exact) = branches.iter().position(|branch| branch.title() == writer.title()) {
            return self.plan(writer, &branches[exact], path).map(|plan| into(exact, plan));
        }
        let readable = branches
            .iter()
            .enumerate()
            .find_map(|(index, branch)| plan(writer, branch).ok().map(|plan| into(index, plan)));
        readable.ok_or_else(|| {
            let reason = format!("{} is no branch of the reader's {}", writer.title(), titles(branches));
            self.list(path, MismatchKind::Union, reason)
        })
    }

    fn symbols(&mut self, writer: &EnumShape, reader: &EnumShape, path: &str) -> Planned<Plan> {
        self.same_name(&writer.name, &reader.name, path)?;
        let number_of = |symbol: &String| reader.symbols.iter().position(|known| known == symbol);
        let default = reader.default.as_ref().and_then(number_of);
        let numbers: Vec<Planned<usize>> = writer
            .symbols
            .iter()
            .map(|symbol| {
                number_of(symbol).or(default).ok_or_else(|| {
                    let reason =
                        format!("the reader does not know \"{symbol}\" and has no default to take for it");
                    self.list(path, MismatchKind::Symbol, reason)
                })
            })
            .collect();
        numbers.into_iter().collect::<Planned<Vec<_>>>().map(Plan::Enum)
    }

    fn record(&mut self, writer: &RecordShape, reader: &RecordShape, path: &str) -> Planned<Plan> {
        self.same_name(&writer.name, &reader.name, path)?;
        let places: HashMap<&str, usize> =
            reader.fields.iter().enumerate().map(|(index, field)| (field.name.as_str(), index)).collect();
        let mut is_written = vec![false; reader.fields.len()];
        let mut fields = Vec::with_capacity(writer.fields.len());
        for field in &writer.fields {
            let place = places.get(field.name.as_str()).copied();
            let target = place.map(|place| {
                is_written[place] = true;
                let plan = self.plan(&field.shape, &reader.fields[place].shape, &join(path, &field.name));
                plan.map(|plan| (place, plan))
            });
            fields.push(target.transpose().map(|target| FieldPlan {
                name: field.name.clone(),
                shape: field.shape.clone(),
                target,
            }));
        }
        let defaults = self.defaults(reader, &is_written, path);
        let fields = fields.into_iter().collect::<Planned<Vec<_>>>()?;
        Ok(Plan::Record { fields, defaults: defaults?, width: reader.fields.len() })
    }

    fn defaults(
        &mut self,
        reader: &RecordShape,
        is_written: &[bool],
        path: &str,
    ) -> Planned<Vec<(usize, Vec<u8>)>> {
        let missing = reader.fields.iter().enumerate().filter(|(place, _)| !is_written[*place]);
        let defaults: Vec<Planned<(usize, Vec<u8>)>> = missing
            .map(|(place, field)| {
                let mut bytes = Vec::new();
                let encoded =
                    field.default.as_ref().and_then(|value| encode_default(&field.shape, value, &mut bytes));
                encoded.map(|()| (place, bytes)).ok_or_else(|| {
                    let reason =
                        format!("the writer has no \"{}\" and the reader no default for it", field.name);
                    self.list(&join(path, &field.name), MismatchKind::FieldMissing, reason)
                })
            })
            .collect();
        defaults.into_iter().collect()
    }

    fn same_name(&mut self, writer: &str, reader: &str, path: &str) -> Planned<()> {
        if writer == reader {
            return Ok(());
        }
        Err(self.list(path, MismatchKind::Name, format!("{writer} is not {reader}")))
    }

    fn unlike(&mut self, path: &str, kind: MismatchKind, writer: &str, reader: &str) -> Listed {
        self.list(path, kind, format!("{writer} cannot be read as {reader}"))
    }

    fn list(&mut self, path: &str, kind: MismatchKind, reason: String) -> Listed {
        self.mismatches.push(Mismatch { path: path.to_owned(), kind, reason });
        Listed
    }
}

fn titles(branches: &[Shape]) -> String {
    let titles: Vec<&str> = branches.iter().map(Shape::title).collect();
    format!("[{}]", titles.join(", "))
}

//! Going through the bytes of a value: to see that they are whole, or to rewrite them for a reader.

use super::cursor::{Cursor, Walk};
use super::plan::{FieldPlan, Plan};
use crate::limits::MAX_EVENT_BYTES;
use crate::shape::{EnumShape, Scalar, Shape, write_long};

/// Most values of one event, containers included. Every collection of a record holds at most 2,000 entries.
pub(crate) const MAX_STEPS: usize = 1 << 16;

/// Goes through a datum from its first byte to its last.
///
/// # Errors
/// Where it is broken.
pub(crate) fn skip_whole(shape: &Shape, datum: &[u8]) -> Walk<()> {
    let mut cursor = Cursor::new(datum, MAX_STEPS);
    skip(shape, &mut cursor)?;
    cursor.end()
}

fn skip(shape: &Shape, cursor: &mut Cursor<'_>) -> Walk<()> {
    cursor.step()?;
    match shape {
        Shape::Scalar(scalar) => skip_scalar(*scalar, cursor),
        Shape::Array(items) => {
            blocks(cursor, |cursor| skip(items, cursor).map_err(|error| error.under("[]")))
        }
        Shape::Map(values) => blocks(cursor, |cursor| {
            text(cursor)?;
            skip(values, cursor).map_err(|error| error.under("{}"))
        }),
        Shape::Union(branches) => {
            let branch = index(cursor, branches.len(), "branch")?;
            skip(&branches[branch], cursor)
        }
        Shape::Enum(shape) => symbol(shape, cursor).map(drop),
        Shape::Record(record) => record
            .fields
            .iter()
            .try_for_each(|field| skip(&field.shape, cursor).map_err(|error| error.under(&field.name))),
    }
}

fn skip_scalar(scalar: Scalar, cursor: &mut Cursor<'_>) -> Walk<()> {
    match scalar {
        Scalar::Null => Ok(()),
        Scalar::Boolean => match cursor.take(1)? {
            [0 | 1] => Ok(()),
            other => Err(cursor.fault(format!("expected a boolean, found the byte {:#04x}", other[0]))),
        },
        Scalar::Int => {
            let number = cursor.long()?;
            i32::try_from(number).map(drop).map_err(|_| cursor.fault(format!("{number} is no int")))
        }
        Scalar::Long | Scalar::TimestampMillis | Scalar::TimestampMicros => cursor.long().map(drop),
        Scalar::Float => cursor.take(4).map(drop),
        Scalar::Double => cursor.take(8).map(drop),
        Scalar::Bytes => {
            let length = cursor.length()?;
            cursor.take(length).map(drop)
        }
        Scalar::String => text(cursor),
    }
}

/// Appends the reader's bytes for the writer's next value.
pub(super) fn rewrite(plan: &Plan, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Walk<()> {
    if out.len() > MAX_EVENT_BYTES {
        return Err(cursor.fault(format!("it becomes larger than {MAX_EVENT_BYTES} bytes")));
    }
    match plan {
        Plan::Copy(shape) => {
            let start = cursor.at();
            skip(shape, cursor)?;
            out.extend_from_slice(cursor.since(start));
            Ok(())
        }
        Plan::Widen { from, to } => widen(*from, *to, cursor, out),
        Plan::Array(items) => rewrite_blocks(cursor, out, |cursor, out| {
            rewrite(items, cursor, out).map_err(|error| error.under("[]"))
        }),
        Plan::Map(values) => rewrite_blocks(cursor, out, |cursor, out| {
            let start = cursor.at();
            text(cursor)?;
            out.extend_from_slice(cursor.since(start));
            rewrite(values, cursor, out).map_err(|error| error.under("{}"))
        }),
        Plan::Enum(numbers) => {
            let symbol = index(cursor, numbers.len(), "symbol")?;
            write_index(numbers[symbol], out);
            Ok(())
        }
        Plan::IntoUnion { branch, plan } => {
            write_index(*branch, out);
            rewrite(plan, cursor, out)
        }
        Plan::FromUnion(plans) => {
            let branch = index(cursor, plans.len(), "branch")?;
            rewrite(&plans[branch], cursor, out)
        }
        Plan::Record { fields, defaults, width } => rewrite_record(fields, defaults, *width, cursor, out),
    }
}

fn rewrite_record(
    fields: &[FieldPlan],
    defaults: &[(usize, Vec<u8>)],
    width: usize,
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
) -> Walk<()> {
    cursor.step()?;
    let mut parts: Vec<Vec<u8>> = vec![Vec::new(); width];
    for (place, bytes) in defaults {
        parts[*place].clone_from(bytes);
    }
    for field in fields {
        let walked = match &field.target {
            Some((place, plan)) => rewrite(plan, cursor, &mut parts[*place]),
            None => skip(&field.shape, cursor),
        };
        walked.map_err(|error| error.under(&field.name))?;
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(())
}

/// Integers become the nearest float, as the specification has it.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "that is what widening means"
)]
fn widen(from: Scalar, to: Scalar, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Walk<()> {
    cursor.step()?;
    let number = if from == Scalar::Float {
        let bytes = cursor.take(4)?.try_into().expect("four bytes were taken");
        f64::from(f32::from_le_bytes(bytes))
    } else {
        cursor.long()? as f64
    };
    if to == Scalar::Float {
        out.extend((number as f32).to_le_bytes());
    } else {
        out.extend(number.to_le_bytes());
    }
    Ok(())
}

fn blocks(cursor: &mut Cursor<'_>, mut item: impl FnMut(&mut Cursor<'_>) -> Walk<()>) -> Walk<()> {
    loop {
        let count = cursor.block()?;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            item(cursor)?;
        }
    }
}

/// The same blocks again, without their byte sizes, which may have changed.
fn rewrite_blocks(
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
    mut item: impl FnMut(&mut Cursor<'_>, &mut Vec<u8>) -> Walk<()>,
) -> Walk<()> {
    loop {
        let count = cursor.block()?;
        write_index(count, out);
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            cursor.step()?;
            item(cursor, out)?;
        }
    }
}

fn text(cursor: &mut Cursor<'_>) -> Walk<()> {
    let length = cursor.length()?;
    let bytes = cursor.take(length)?;
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(cursor.fault(format!("a text that is not UTF-8 from its byte {}", error.valid_up_to())))
        }
    }
}

fn symbol(shape: &EnumShape, cursor: &mut Cursor<'_>) -> Walk<usize> {
    index(cursor, shape.symbols.len(), "symbol")
}

fn index(cursor: &mut Cursor<'_>, count: usize, what: &str) -> Walk<usize> {
    let number = cursor.long()?;
    usize::try_from(number).ok().filter(|index| *index < count).ok_or_else(|| {
        cursor.fault(format!("{what} number {number}, expected 0 to {}", count.saturating_sub(1)))
    })
}

fn write_index(index: usize, out: &mut Vec<u8>) {
    write_long(i64::try_from(index).expect("an index in memory fits in 63 bits"), out);
}

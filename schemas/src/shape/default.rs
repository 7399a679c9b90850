//! A default of a schema (JSON, as Avro writes it) as the bytes a writer would have written.

use serde_json::Value;

use super::Shape;

/// Appends the encoding of `value`; `None` when it is no value of the type. A union's default belongs to its first
/// branch, a double may be written as an integer.
pub(crate) fn encode_default(shape: &Shape, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match shape {
        Shape::Null => value.is_null().then_some(()),
        Shape::Boolean => {
            out.push(value.as_bool()?.into());
            Some(())
        }
        Shape::Int => {
            let number = i32::try_from(value.as_i64()?).ok()?;
            write_long(number.into(), out);
            Some(())
        }
        Shape::Long | Shape::TimestampMillis | Shape::TimestampMicros => {
            write_long(value.as_i64()?, out);
            Some(())
        }
        Shape::Float => {
            #[expect(clippy::cast_possible_truncation, reason = "a float is what the schema says")]
            out.extend((value.as_f64()? as f32).to_le_bytes());
            Some(())
        }
        Shape::Double => {
            out.extend(value.as_f64()?.to_le_bytes());
            Some(())
        }
        Shape::Bytes | Shape::String => {
            write_bytes(value.as_str()?.as_bytes(), out);
            Some(())
        }
        Shape::Array(items) => {
            let list = value.as_array()?;
            write_count(list.len(), out);
            list.iter().try_for_each(|item| encode_default(items, item, out))?;
            end_of_blocks(list.len(), out);
            Some(())
        }
        Shape::Map(values) => {
            let map = value.as_object()?;
            write_count(map.len(), out);
            for (key, value) in map {
                write_bytes(key.as_bytes(), out);
                encode_default(values, value, out)?;
            }
            end_of_blocks(map.len(), out);
            Some(())
        }
        Shape::Union(branches) => {
            write_long(0, out);
            encode_default(branches.first()?, value, out)
        }
        Shape::Enum(shape) => {
            let symbol = value.as_str()?;
            let index = shape.symbols.iter().position(|known| known == symbol)?;
            write_long(i64::try_from(index).ok()?, out);
            Some(())
        }
        Shape::Record(record) => {
            let map = value.as_object()?;
            record.fields.iter().try_for_each(|field| {
                let value = map.get(&field.name).or(field.default.as_ref())?;
                encode_default(&field.shape, value, out)
            })
        }
    }
}

/// Appends a zigzag varint.
pub(crate) fn write_long(number: i64, out: &mut Vec<u8>) {
    let mut rest = (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_count(bytes.len(), out);
    out.extend(bytes);
}

fn write_count(count: usize, out: &mut Vec<u8>) {
    write_long(i64::try_from(count).expect("nothing in memory is longer than i64 counts"), out);
}

/// A block of no items is the end itself.
fn end_of_blocks(count: usize, out: &mut Vec<u8>) {
    if count > 0 {
        write_long(0, out);
    }
}

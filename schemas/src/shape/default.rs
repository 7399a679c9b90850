//! A default of a schema (JSON, as Avro writes it) as the bytes a writer would have written.

use serde_json::Value;

use super::{Scalar, Shape};

/// Appends the encoding of `value`; `None` when it is no value of the type. A union's default belongs to its first
/// branch, a double may be written as an integer.
pub(crate) fn encode_default(shape: &Shape, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match shape {
        Shape::Scalar(scalar) => encode_scalar(*scalar, value, out),
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

fn encode_scalar(scalar: Scalar, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match scalar {
        Scalar::Null => return value.is_null().then_some(()),
        Scalar::Boolean => out.push(value.as_bool()?.into()),
        Scalar::Int => write_long(i32::try_from(value.as_i64()?).ok()?.into(), out),
        Scalar::Long | Scalar::TimestampMillis | Scalar::TimestampMicros => write_long(value.as_i64()?, out),
        Scalar::Float => {
            #[expect(clippy::cast_possible_truncation, reason = "a float is what the schema says")]
            let float = value.as_f64()? as f32;
            out.extend(float.is_finite().then_some(float)?.to_le_bytes());
        }
        Scalar::Double => out.extend(value.as_f64()?.to_le_bytes()),
        Scalar::String => write_bytes(value.as_str()?.as_bytes(), out),
        Scalar::Bytes => write_bytes(&latin1(value.as_str()?)?, out),
    }
    Some(())
}

/// The bytes of a default: the specification writes each as the character of its number.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(shape: &Shape, value: &Value) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        encode_default(shape, value, &mut out).map(|()| out)
    }

    #[test]
    fn a_default_becomes_the_bytes_of_the_specification() {
        let of = |scalar, value| encoded(&Shape::Scalar(scalar), &value);
        assert_eq!(of(Scalar::Bytes, json!("\u{ff}\u{1}")), Some(vec![4, 0xff, 1]), "a character is a byte");
        assert_eq!(of(Scalar::Bytes, json!("\u{100}")), None);
        assert_eq!(of(Scalar::String, json!("\u{ff}")), Some(vec![4, 0xc3, 0xbf]));
        assert_eq!(of(Scalar::Double, json!(1)), Some(1.0_f64.to_le_bytes().to_vec()));
        assert_eq!(of(Scalar::Int, json!(1_i64 << 31)), None);
        assert_eq!(of(Scalar::Long, json!(-65)), Some(vec![0x81, 1]));
        assert_eq!(of(Scalar::Long, json!(1.5)), None);
        let union = Shape::Union(vec![Shape::Scalar(Scalar::String), Shape::NULL]);
        assert_eq!(encoded(&union, &json!("a")), Some(vec![0, 2, b'a']), "the first branch's");
        assert_eq!(encoded(&union, &json!(null)), None);
        let map = Shape::Map(Box::new(Shape::Array(Box::new(Shape::Scalar(Scalar::Boolean)))));
        assert_eq!(encoded(&map, &json!({"k": [true]})), Some(vec![2, 2, b'k', 2, 1, 0, 0]));
        assert_eq!(encoded(&map, &json!({})), Some(vec![0]));
    }
}

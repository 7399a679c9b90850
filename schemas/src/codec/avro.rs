//! Avro single-object encoding: `C3 01`, eight bytes of fingerprint, the value.

use std::sync::LazyLock;

use apache_avro::AvroResult;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::DecodeError;
use crate::record::Fingerprint;
use crate::{FailureClass, Record, Stage};

/// First bytes of every single-object encoding of version 1.
pub(crate) const MARKER: [u8; 2] = [0xC3, 0x01];
/// Marker and fingerprint.
pub(crate) const HEADER_BYTES: usize = 10;
/// Most memory one collection may claim while it is read (the library's default is 512 MiB).
const MAX_ALLOCATION: usize = 8 << 20;

struct Codec {
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
}

static CODECS: LazyLock<Vec<Codec>> = LazyLock::new(|| {
    apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
    let codec = |record: Record| {
        let schema = record.schema();
        Codec {
            writer: GenericDatumWriter::builder(schema).build().expect("the embedded schemas resolve"),
            reader: GenericDatumReader::builder(schema).build().expect("the embedded schemas resolve"),
        }
    };
    Record::ALL.into_iter().map(codec).collect()
});

/// Appends the single-object encoding of `value`.
pub(crate) fn write<T: Serialize>(record: Record, value: &T, out: &mut Vec<u8>) -> AvroResult<usize> {
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&record.fingerprint().0);
    CODECS[record as usize].writer.write_ser(out, value)
}

/// The fingerprint in the header of a payload.
pub(crate) fn header(payload: &[u8]) -> Result<Fingerprint, DecodeError> {
    match payload {
        [0xC3, 0x01, rest @ ..] if rest.len() >= 8 => {
            let bytes = rest[..8].try_into().expect("eight bytes were matched");
            Ok(Fingerprint(bytes))
        }
        _ => Err(DecodeError::new(
            FailureClass::Decode,
            Stage::Decode,
            "not Avro single-object encoding: expected the bytes C3 01 and an eight-byte fingerprint",
        )),
    }
}

/// Reads one value and refuses bytes behind it.
pub(crate) fn read<T: DeserializeOwned>(record: Record, datum: &[u8]) -> Result<T, DecodeError> {
    let mut rest = datum;
    let value = CODECS[record as usize].reader.read_deser(&mut rest).map_err(|error| {
        let at = datum.len() - rest.len() + HEADER_BYTES;
        DecodeError::new(
            FailureClass::Decode,
            Stage::Decode,
            format!("Avro value broken near byte {at}: {error}"),
        )
    })?;
    if rest.is_empty() {
        return Ok(value);
    }
    let reason = format!("{} bytes follow the Avro value; expected none", rest.len());
    Err(DecodeError::new(FailureClass::Decode, Stage::Decode, reason))
}

//! Avro single-object encoding: `C3 01`, eight bytes of fingerprint, the value.

use std::sync::LazyLock;

use apache_avro::AvroResult;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::DecodeError;
use crate::record::{Fingerprint, Version};
use crate::resolution::{Resolution, WalkError, skip_whole};
use crate::{FailureClass, Record, Stage};

/// First bytes of every single-object encoding of version 1.
pub(crate) const MARKER: [u8; 2] = [0xC3, 0x01];
/// Marker and fingerprint.
pub(crate) const HEADER_BYTES: usize = 10;
/// Most memory one collection may claim while it is read (the library's default is 512 MiB).
const MAX_ALLOCATION: usize = 8 << 20;
/// Up to this size no value can claim much more memory than it has bytes; above, the value is walked through first,
/// which bounds the entries of its collections.
const WALKED_FROM: usize = 64 * 1024;

struct Codec {
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
    /// How each older version is read, the oldest first.
    older: Vec<Resolution>,
}

static CODECS: LazyLock<Vec<Codec>> = LazyLock::new(|| {
    apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
    Record::ALL.into_iter().map(codec).collect()
});

fn codec(record: Record) -> Codec {
    let latest = record.latest();
    let schema = latest.schema();
    let resolution = |version: &Version| {
        Resolution::new(&version.shape, &latest.shape).expect("versions read each other, which a test proves")
    };
    let older = record.versions().iter().filter(|version| !version.is_latest()).map(resolution).collect();
    Codec {
        writer: GenericDatumWriter::builder(schema).build().expect("the embedded schemas resolve"),
        reader: GenericDatumReader::builder(schema).build().expect("the embedded schemas resolve"),
        older,
    }
}

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
        _ => Err(fault(
            "not Avro single-object encoding: expected the bytes C3 01 and an eight-byte fingerprint"
                .to_owned(),
        )),
    }
}

/// The bytes the latest version would have written for a datum of an older one.
pub(crate) fn upgrade(version: &Version, datum: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let index = version.number as usize - 1;
    CODECS[version.record as usize].older[index].resolve(datum).map_err(|error| broken(&error))
}

/// Reads one value of the latest version and refuses bytes behind it.
pub(crate) fn read<T: DeserializeOwned>(record: Record, datum: &[u8]) -> Result<T, DecodeError> {
    let walk = || skip_whole(&record.latest().shape, datum).map_err(|error| broken(&error));
    if datum.len() > WALKED_FROM {
        walk()?;
    }
    let mut rest = datum;
    match CODECS[record as usize].reader.read_deser(&mut rest) {
        Ok(value) if rest.is_empty() => Ok(value),
        // The walk names the field; what only the types know (an id, JSON text) is the library's to say.
        Ok(_) => Err(walk().err().unwrap_or_else(|| fault("bytes follow the Avro value".to_owned()))),
        Err(error) => Err(walk().err().unwrap_or_else(|| fault(format!("Avro value broken: {error}")))),
    }
}

/// A value that is broken at a place.
pub(super) fn broken(error: &WalkError) -> DecodeError {
    let WalkError { path, at, reason } = error;
    let place = if path.is_empty() { String::new() } else { format!("at `{path}`, ") };
    fault(format!("Avro value broken {place}byte {}: {reason}", at + HEADER_BYTES))
}

/// A record on the subject of another.
pub(super) fn misplaced(written: Record, expected: Record) -> DecodeError {
    let reason = format!("the payload is a {}, expected a {}", written.name(), expected.name());
    DecodeError::new(FailureClass::SchemaMismatch, Stage::Decode, reason)
}

fn fault(reason: String) -> DecodeError {
    DecodeError::new(FailureClass::Decode, Stage::Decode, reason)
}

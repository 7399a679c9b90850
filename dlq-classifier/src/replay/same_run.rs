//! A request that names no run is made to name the one it was for, before it is replayed. Pure.
//!
//! Every reader derives the run of such a request from its place in the stream ([`Place::derived_run`]). A replay has
//! another place, and would be a request for another run: what the dead one had begun would begin a second time, past
//! every gate. So the replay says the run of the dead message's place.
//!
//! That is one rule, whatever the message died of. Where no run had begun, because nobody could read the request, its id
//! is as good as any other; and whether nobody could is not known: another build may have had the schema, another
//! consumer may have left a letter of its own, and the replays of both are for one run. Whoever wants a run apart names
//! it by `--edit`. On a subject that is not ours bytes go as they are: nobody there derives anything.
//!
//! What cannot be made to name its run without losing what it says, because it is of a schema of another build, is refused with
//! the remedy, unless it died because nobody could read it: then nothing has begun that is known of, and its bytes stay.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemas::codec;
#[cfg(doc)]
use schemas::dead_letter::Place;
use schemas::dead_letter::Verdict;
use schemas::event::RunRequested;
use schemas::record::Version;
use schemas::{Encoding, Event, Record, RunId, Stage};
use serde_json::value::{RawValue, to_raw_value};
use service_kit::history::Kept;

use super::upcast::{fingerprint_of, is_structured};
use crate::edit::{Draft, name_run, set};

/// Why a request cannot be made to name its run: a schema this build does not know, or no room left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it names no run, and cannot be made to name the one it was for without losing what it says: --edit '.run_id = \"{0}\"' \
     writes it as JSON of today"
)]
pub(super) struct Unnameable(RunId);

/// The same request with its run, and that run; `None` for what names one and for what is no request of ours.
pub(super) fn name_its_run(draft: &Draft, letter: &Kept) -> Result<Option<(Draft, RunId)>, Unnameable> {
    if Record::of_subject(&draft.subject) != Some(Record::RunRequested) {
        return Ok(None);
    }
    // What cannot be read is refused elsewhere.
    let Ok(decoded) = draft.decode() else { return Ok(None) };
    let Event::RunRequested(request) = decoded.event else { return Ok(None) };
    let Some(verdict) = Verdict::read(&letter.headers).filter(|_| request.run_id.is_none()) else {
        return Ok(None);
    };
    let run = verdict.place().derived_run();
    let meant = Event::RunRequested(RunRequested { run_id: Some(run.clone()), ..request });
    let named = written(draft, decoded.encoding, &meant, &run);
    // Nothing else it says has changed, whatever it was written in.
    match named.filter(|named| named.decode().is_ok_and(|decoded| decoded.event == meant)) {
        Some(named) => Ok(Some((named, run))),
        None if verdict.stage == Stage::Decode => Ok(None),
        None => Err(Unnameable(run)),
    }
}

fn written(draft: &Draft, encoding: Encoding, meant: &Event, run: &RunId) -> Option<Draft> {
    let payload = if is_structured(&draft.headers) {
        in_envelope(&draft.payload, encoding, meant, run)?
    } else {
        in_content(&draft.payload, encoding, meant, run)?
    };
    let mut named = Draft { payload, ..draft.clone() };
    name_run(&mut named.headers, run.as_str());
    if encoding == Encoding::Avro {
        set(&mut named.headers, "ce-dataschema", Record::RunRequested.ce_dataschema());
    }
    Some(named)
}

/// JSON keeps everything else it holds, what nobody knows as well. Avro is written anew, which loses nothing of a version
/// of ours.
fn in_content(payload: &[u8], encoding: Encoding, meant: &Event, run: &RunId) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Json => {
            let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(payload).ok()?;
            members.insert("run_id".to_owned(), to_raw_value(run).ok()?);
            serde_json::to_vec(&members).ok()
        }
        Encoding::Avro => {
            let is_ours = fingerprint_of(payload).and_then(Version::of_fingerprint).is_some();
            is_ours.then(|| codec::encode(meant, encoding).ok()).flatten()
        }
    }
}

/// The same inside of an envelope in structured mode.
fn in_envelope(payload: &[u8], encoding: Encoding, meant: &Event, run: &RunId) -> Option<Vec<u8>> {
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(payload).ok()?;
    if let Some(data) = members.get_mut("data") {
        let named = in_content(data.get().as_bytes(), encoding, meant, run)?;
        *data = RawValue::from_string(String::from_utf8(named).ok()?).ok()?;
    } else {
        let data = members.get_mut("data_base64")?;
        let text: String = serde_json::from_str(data.get()).ok()?;
        let named = in_content(&BASE64_STANDARD.decode(text).ok()?, encoding, meant, run)?;
        *data = to_raw_value(&BASE64_STANDARD.encode(named)).ok()?;
    }
    serde_json::to_vec(&members).ok()
}

#[cfg(test)]
mod tests;

//! An event written and read, in memory, with the headers it has on its way.
//!
//! Reading stands beside the library that does the parsing, alone, on the same bytes into the same type: what is left is
//! ours, for headers, limits, unknown fields and the meaning.
//!
//! Events, headers and payloads are prepared beforehand and taken in turn, so that nothing is read twice in a row. A
//! call is too short for the clock, so some are timed together.

use std::hint::black_box;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use schemas::cloudevents::{self, Headers};
use schemas::event::TrialReported;
use schemas::{Encoding, Event, Record};
use service_kit::clock;
use service_kit::error::CliError;
use tokio::time::Instant;

use super::specimen;
use crate::cli::{Effort, progress};
use crate::table::{Figure, Finding, Peer, Ratio, Target, Unit};
use crate::timings::Timings;

/// Different events.
const EVENTS: u32 = 64;
/// What is promised of each.
const TARGET: Target = Target::OursBelow(Figure::new(2.0, Unit::Microseconds));

/// One event, with everything it takes to read it.
struct Written {
    event: Event,
    headers: Headers,
    payload: Vec<u8>,
}

/// Measures both directions in both encodings.
pub(super) fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let passes = effort.choose(300, 3000);
    progress(format!("{EVENTS} trial events, written and read {passes} times in both encodings"));
    let mut findings = Vec::new();
    for (encoding, name) in [(Encoding::Json, "JSON"), (Encoding::Avro, "Avro")] {
        let specimens = written(encoding)?;
        let bytes: usize = specimens.iter().map(|specimen| specimen.payload.len()).sum();
        let remark = format!("{} bytes on average", bytes / specimens.len());
        let encode = |specimen: &Written| {
            black_box(schemas::codec::encode(black_box(&specimen.event), encoding).is_ok())
        };
        let decode = |specimen: &Written| {
            let subject = specimen.event.record().subject();
            let Written { headers, payload, .. } = black_box(specimen);
            black_box(schemas::codec::decode(subject, headers, payload).is_ok())
        };
        let timings = time(&specimens, passes, encode)?;
        let (p50, mean) = (Figure::micros(timings.p50()), Figure::micros(timings.mean()));
        let title = format!("contracts: encode a trial event, {name}");
        findings.push(Finding::typical(title, p50, mean, TARGET).with_remark(&remark));
        let ours = Figure::micros(time(&specimens, passes, decode)?.p50());
        let library = library(encoding, &specimens, passes)?;
        let title = format!("contracts: decode a trial event, {name}");
        findings.push(Finding::beside(title, ours, library, Ratio::OursByPeer, TARGET).with_remark(&remark));
    }
    Ok(findings)
}

/// The library alone: no headers, no limits, no unknown fields, no check of the meaning.
fn library(encoding: Encoding, specimens: &[Written], passes: u32) -> Result<Peer, CliError> {
    let (name, timings) = match encoding {
        Encoding::Json => {
            let parse = |specimen: &Written| {
                black_box(serde_json::from_slice::<TrialReported>(black_box(&specimen.payload)).is_ok())
            };
            ("serde_json alone", time(specimens, passes, parse)?)
        }
        Encoding::Avro => {
            let unreadable = |error| CliError::internal("the schema cannot be read").because(error);
            let schema = Schema::parse_str(Record::TrialReported.latest().text).map_err(unreadable)?;
            let reader = GenericDatumReader::builder(&schema).build().map_err(unreadable)?;
            let parse = |specimen: &Written| {
                let mut datum = black_box(&specimen.payload[10..]);
                black_box(reader.read_deser::<TrialReported>(&mut datum).is_ok())
            };
            ("apache-avro alone", time(specimens, passes, parse)?)
        }
    };
    Ok(Peer::new(name, Figure::micros(timings.p50())))
}

fn written(encoding: Encoding) -> Result<Vec<Written>, CliError> {
    let voice = specimen::voice("019a0000-0000-7000-8000-000000000000");
    let write = |event: Event| {
        let payload = schemas::codec::encode(&event, encoding)
            .map_err(|error| CliError::internal("a trial cannot be written").because(error))?;
        let headers = cloudevents::headers(&event, &voice, encoding, clock::now());
        Ok(Written { event, headers, payload })
    };
    specimen::trials(&voice, EVENTS).into_iter().map(write).collect()
}

/// Times a call on every specimen in turn: the mean of a pass over all of them counts as one call. The first tenth of
/// the passes is a warm-up.
fn time(specimens: &[Written], passes: u32, call: impl Fn(&Written) -> bool) -> Result<Timings, CliError> {
    let mut timings = Timings::new();
    for pass in 0..passes + passes / 10 {
        let began = Instant::now();
        let done = specimens.iter().filter(|specimen| call(specimen)).count();
        let took = began.elapsed();
        if done < specimens.len() {
            return Err(CliError::internal("a trial cannot be written or read"));
        }
        if pass >= passes / 10 {
            timings.record(took / EVENTS);
        }
    }
    Ok(timings)
}

//! An event written and read, in memory, with the headers it has on its way.
//!
//! Events, headers and payloads are prepared beforehand and taken in turn, so that nothing is read twice in a row. A
//! call is too short for the clock, so some are timed together.

use std::hint::black_box;

use schemas::cloudevents::{self, Headers};
use schemas::{Encoding, Event};
use service_kit::clock;
use service_kit::error::CliError;
use tokio::time::Instant;

use super::specimen;
use crate::cli::{Effort, progress};
use crate::table::{Figure, Finding, Target, Unit};
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
        for (verb, timings) in
            [("encode", time(&specimens, passes, encode)?), ("decode", time(&specimens, passes, decode)?)]
        {
            let (p50, mean) = (Figure::micros(timings.p50()), Figure::micros(timings.mean()));
            let name = format!("contracts: {verb} a trial event, {name}");
            findings.push(Finding::typical(name, p50, mean, TARGET).with_remark(&remark));
        }
    }
    Ok(findings)
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

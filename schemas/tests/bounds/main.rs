//! Hostile bytes against everything that reads: payloads, headers, envelopes, registry entries. Nothing panics, nothing
//! takes more than 8 MB of memory for an input of up to 1 MB, every refusal has a class and a reason.
//!
//! A binary of its own, because memory is measured for the whole process: its tests take turns.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod amplifiers;
mod mutants;
mod verdicts;

use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;
use schemas::cloudevents::{Headers, header};
use schemas::codec::{self, DecodeError, Decoded, Foreign, foreign_fingerprint};
use schemas::record::Fingerprint;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What no input may exceed.
const LIMIT: usize = 8 << 20;

/// One test at a time: the others' memory would be counted as well.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` and returns what it returned and the memory it took at its peak.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = work();
    (result, MEMORY.peak_usage().saturating_sub(before))
}

fn typed(content_type: &str) -> Headers {
    Headers(vec![(header::CONTENT_TYPE.into(), content_type.into())])
}

/// Reads a message as an intake does, with whatever the registry says about its fingerprint, within the limit.
fn read(
    subject: &str,
    headers: &Headers,
    payload: &[u8],
    entry: Option<&str>,
) -> Result<Decoded, DecodeError> {
    let (result, peak) = measured(|| {
        let foreign = foreign_fingerprint(headers, payload).map(|fingerprint| {
            entry.map_or_else(|| Foreign::missing(fingerprint), |text| Foreign::read(fingerprint, text))
        });
        codec::decode_with(subject, headers, payload, foreign.as_ref())
    });
    assert!(peak <= LIMIT, "{peak} bytes of memory for {} bytes of input on {subject}", payload.len());
    if let Err(error) = &result {
        assert!(!error.reason.is_empty() && error.reason.len() <= 1100, "{}", error.reason);
    }
    result
}

/// Reads a registry entry within the limit.
fn read_entry(fingerprint: Fingerprint, text: &str) -> bool {
    let (foreign, peak) = measured(|| Foreign::read(fingerprint, text));
    assert!(peak <= LIMIT, "{peak} bytes of memory for a registry entry of {} bytes", text.len());
    foreign.is_readable()
}

#[test]
fn the_measure_sees_what_is_taken() {
    let _turn = turn();
    // Twice, because another test's thread may give back what it had between the two looks.
    let (block, peak) = measured(|| vec![1_u8; 2 * LIMIT]);
    assert!(block.len() > LIMIT && peak > LIMIT);
    let (_, peak) = measured(|| ());
    assert!(peak < LIMIT);
}

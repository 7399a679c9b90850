//! The golden corpus: bytes and JSON of every published version, read by this build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::cloudevents::{Headers, header};
use schemas::record::Version;
use schemas::{Encoding, codec};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Every version has these; some have more.
const CASES: [&str; 2] = ["full", "minimal"];
/// What our first builds wrote, which named the schema by another fingerprint (see `schemas::shape::Parsed`).
const EARLY: &str = "/early";

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Path below the corpus and content of every file but the list itself.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in std::fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()) {
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let place = file.strip_prefix(corpus()).unwrap().to_str().unwrap().to_owned();
            files.insert(place, std::fs::read(file).unwrap());
        }
    }
    files
}

fn of(version: &Version) -> String {
    format!("{}.v{}", version.record.file_name(), version.number)
}

fn avro() -> Headers {
    Headers(vec![(header::CONTENT_TYPE.into(), Encoding::Avro.content_type().into())])
}

#[test]
fn nothing_was_removed_or_altered_and_every_version_is_recorded() {
    let files = files();
    let listed = std::fs::read_to_string(corpus().join("SHA256SUMS")).unwrap();
    let listed: BTreeMap<String, String> = listed
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(digest, place)| (place.to_owned(), digest.to_owned()))
        .collect();
    let found: BTreeMap<String, String> = files
        .iter()
        .map(|(place, bytes)| {
            let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            (place.clone(), digest)
        })
        .collect();
    for place in found.keys().chain(listed.keys()) {
        assert_eq!(found.get(place), listed.get(place), "{place} was removed, added or altered");
    }
    for version in Version::all() {
        for case in CASES {
            for kind in ["json", "avro"] {
                let place = format!("{}/{case}.{kind}", of(version));
                assert!(files.contains_key(&place), "{place} is not recorded");
            }
        }
    }
    assert_eq!(files.keys().filter(|place| place.ends_with(".json")).count() * 2, files.len());
}

#[test]
fn this_build_reads_every_version_and_both_encodings_say_the_same() {
    let files = files();
    for version in Version::all() {
        let prefix = format!("{}/", of(version));
        for (place, json) in files.iter().filter(|(place, _)| place.starts_with(&prefix)) {
            let Some(case) = place.strip_suffix(".json") else { continue };
            let subject = version.record.subject();
            let from_json = codec::decode(subject, &Headers::default(), json).unwrap();
            assert_eq!(from_json.unknown_fields, Vec::<String>::new(), "{place}");
            let bytes = &files[&format!("{case}.avro")];
            let named = if case.ends_with(EARLY) {
                version.library_fingerprint.unwrap()
            } else {
                version.fingerprint
            };
            assert_eq!(bytes[2..10], named.0, "{case}.avro was written by another version");
            let from_avro = codec::decode(subject, &avro(), bytes).unwrap();
            assert_eq!(from_avro.event, from_json.event, "{place}");
            let read = from_json.event.to_json();
            assert_holds(&read, &serde_json::from_slice(json).unwrap(), place);
        }
    }
}

/// What was written is there, whatever was added since.
fn assert_holds(read: &Value, written: &Value, place: &str) {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            written
                .iter()
                .for_each(|(key, value)| assert_holds(&read[key], value, &format!("{place}: {key}")));
        }
        (Value::Array(read), Value::Array(written)) => {
            assert_eq!(read.len(), written.len(), "{place}");
            read.iter().zip(written).for_each(|(read, written)| assert_holds(read, written, place));
        }
        (Value::Number(read), Value::Number(written)) => {
            assert_eq!(read.as_f64(), written.as_f64(), "{place}")
        }
        (read, written) => assert_eq!(read, written, "{place}"),
    }
}

#[test]
fn what_the_latest_version_writes_is_what_was_recorded() {
    let files = files();
    for version in Version::all().filter(|version| version.is_latest()) {
        let prefix = format!("{}/", of(version));
        let is_ours =
            |place: &str| place.starts_with(&prefix) && place.ends_with(".avro") && !place.contains(EARLY);
        for (place, bytes) in files.iter().filter(|(place, _)| is_ours(place)) {
            let event = codec::decode(version.record.subject(), &avro(), bytes).unwrap().event;
            assert!(&codec::encode(&event, Encoding::Avro).unwrap() == bytes, "{place}");
        }
    }
}

#[test]
fn a_recorded_value_that_ends_early_or_goes_on_is_refused_by_every_version_s_reader() {
    let files = files();
    for version in Version::all() {
        let subject = version.record.subject();
        for case in CASES {
            let bytes = &files[&format!("{}/{case}.avro", of(version))];
            for end in 0..bytes.len() {
                assert!(
                    codec::decode(subject, &avro(), &bytes[..end]).is_err(),
                    "{} {case}, {end} bytes",
                    of(version)
                );
            }
            let mut longer = bytes.clone();
            longer.push(0);
            let error = codec::decode(subject, &avro(), &longer).unwrap_err();
            assert!(error.reason.contains("follow the value"), "{}", error.reason);
        }
    }
}

use schemas::cloudevents::Headers;
use schemas::dead_letter::Place;
use schemas::{Failure, FailureClass, Timestamp};

use super::*;

const REQUESTED: &str = "cerebros.nas.run.requested";

fn place() -> Place {
    Place {
        stream: "CEREBROS".into(),
        sequence: 7,
        consumer: "bridge-worker".into(),
        subject: REQUESTED.into(),
        deliveries: 5,
        first_seen: Timestamp::from_micros(1_700_000_000_000_999),
    }
}

/// A message on its way back, and the letter it comes from.
fn died(headers: &[(&str, &str)], payload: &[u8]) -> (Draft, Kept) {
    died_in(Stage::Execute, headers, payload)
}

fn died_in(stage: Stage, headers: &[(&str, &str)], payload: &[u8]) -> (Draft, Kept) {
    let headers = Headers(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect());
    let failure = Failure::new(FailureClass::WorkerLost, stage, "lost");
    let verdict = Verdict::new(&place(), &failure, Timestamp::from_micros(2), &headers);
    let letter = Kept {
        sequence: 1,
        subject: verdict.kept_on(),
        time: Timestamp::from_micros(2),
        headers: verdict.headers(&headers, "m"),
        payload: payload.to_vec().into(),
        schema: None,
    };
    (Draft { subject: REQUESTED.into(), headers, payload: payload.to_vec(), schema: None }, letter)
}

fn named(headers: &[(&str, &str)], payload: &[u8]) -> Option<Draft> {
    let (draft, letter) = died(headers, payload);
    let (named, run) = name_its_run(&draft, &letter).unwrap()?;
    assert_eq!(run, RunId::derive("CEREBROS", 7, 1_700_000_000_000), "as every reader derives it");
    assert_eq!(named.decode().unwrap().event.run_id(), Some(&run));
    Some(named)
}

#[test]
fn json_keeps_every_other_byte_of_its_values_and_an_envelope_agrees() {
    let payload = br#"{"mine": 12345678901234567890123, "dataset_id":"digits", "tau": 1.50}"#;
    let named = named(&[("cerebros-run-id", "x"), ("X", "1")], payload).unwrap();
    let run = place().derived_run();
    let text = String::from_utf8(named.payload).unwrap();
    assert_eq!(
        text,
        format!(r#"{{"dataset_id":"digits","mine":12345678901234567890123,"run_id":"{run}","tau":1.50}}"#)
    );
    assert_eq!(named.headers.get("Cerebros-Run-Id"), Some(run.as_str()));
    assert_eq!((named.headers.get("X"), named.headers.get("ce-subject")), (Some("1"), None));
}

#[test]
fn avro_of_any_version_of_ours_is_written_in_today_s() {
    let avro = ("Content-Type", "application/avro");
    let bare = codec::encode(&Event::RunRequested(RunRequested::new("digits")), Encoding::Avro).unwrap();
    assert_eq!(named(&[avro], &bare).unwrap().decode().unwrap().encoding, Encoding::Avro);
    let mut foreign = bare;
    foreign[2..10].copy_from_slice(&[7; 8]);
    assert_eq!(named(&[avro], &foreign), None, "what cannot be read is refused elsewhere");
}

#[test]
fn an_envelope_of_somebody_else_s_keeps_what_else_it_holds() {
    let structured = [("Content-Type", "application/cloudevents+json; charset=utf-8")];
    let around = |content: &str| {
        format!(r#"{{"specversion":"1.0","type":"{REQUESTED}","id":"x","more":1.0,{content}}}"#)
    };
    let plain = named(&structured, around(r#""data":{"dataset_id":"digits"}"#).as_bytes()).unwrap();
    assert!(String::from_utf8(plain.payload).unwrap().contains(r#""more":1.0"#));
    let json = BASE64_STANDARD.encode(r#"{"dataset_id":"digits"}"#);
    named(&structured, around(&format!(r#""data_base64":"{json}""#)).as_bytes()).unwrap();
    let avro = codec::encode(&Event::RunRequested(RunRequested::new("digits")), Encoding::Avro).unwrap();
    let avro = BASE64_STANDARD.encode(avro);
    let avro = format!(r#""datacontenttype":"application/avro","data_base64":"{avro}""#);
    named(&structured, around(&avro).as_bytes()).unwrap();
}

#[test]
fn what_names_a_run_and_what_is_no_request_of_ours_stays_as_it_is() {
    assert_eq!(named(&[], br#"{"dataset_id":"digits","run_id":"mine"}"#), None);
    assert_eq!(named(&[], b"{"), None);
    let (draft, letter) = died(&[], br#"{"dataset_id":"digits"}"#);
    let elsewhere = Draft { subject: "elsewhere.requests".into(), ..draft };
    assert_eq!(name_its_run(&elsewhere, &letter), Ok(None));
}

#[test]
fn one_that_leaves_no_room_for_it_is_refused_with_the_remedy_unless_nobody_could_read_it() {
    let room = codec::MAX_EVENT_BYTES - r#"{"dataset_id":"digits","mine":""}"#.len();
    let payload = format!(r#"{{"dataset_id":"digits","mine":"{}"}}"#, "x".repeat(room));
    let (draft, letter) = died(&[], payload.as_bytes());
    draft.decode().unwrap();
    let refused = name_its_run(&draft, &letter).unwrap_err().to_string();
    assert!(refused.contains(place().derived_run().as_str()), "{refused}");
    let (draft, letter) = died_in(Stage::Decode, &[], payload.as_bytes());
    assert_eq!(name_its_run(&draft, &letter), Ok(None), "nothing has begun");
}

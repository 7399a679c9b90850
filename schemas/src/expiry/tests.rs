use super::*;
use crate::codec::decode;

const REQUESTED: &str = "cerebros.nas.run.requested";
const BODY: &[u8] = br#"{"dataset_id":"digits"}"#;
const NOON: &str = "2026-01-31T12:00:00Z";

fn headers(pairs: &[(&str, &str)]) -> Headers {
    Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn structured(attributes: &str) -> Vec<u8> {
    format!(r#"{{"specversion":"1.0","type":"{REQUESTED}"{attributes}, "data":{{"dataset_id":"digits"}}}}"#)
        .into_bytes()
}

fn envelope() -> Headers {
    headers(&[("Content-Type", "application/cloudevents+json; charset=utf-8")])
}

#[test]
fn a_request_is_in_time_up_to_the_moment_itself_and_refused_from_the_next_microsecond_on() {
    let expires = at(NOON);
    let taken = |micros: i64| refusal(Some(expires), Timestamp::from_micros(expires.micros() + micros));
    assert_eq!((taken(i64::MIN / 2), taken(-1), taken(0)), (None, None, None));
    let failure = taken(1).unwrap();
    assert_eq!((failure.class, failure.stage), (FailureClass::Expired, Stage::Validate));
    assert!(!failure.retryable);
    for words in ["ce-expirytime", NOON, "1us", "replay", "producer retry"] {
        assert!(failure.message.contains(words), "{words}: {}", failure.message);
    }
    assert_eq!(refusal(None, Timestamp::from_micros(i64::MAX)), None, "a request without it waits for ever");
}

#[test]
fn the_ends_of_time_are_times() {
    let (first, last) = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
    assert!(refusal(Some(first), last).unwrap().message.contains("3652058d"));
    assert_eq!(refusal(Some(last), first), None);
}

#[test]
fn how_late_is_one_word_in_the_largest_unit_that_tells() {
    let seconds = |number: i64| late(number * 1_000_000);
    assert_eq!([late(1), late(1_999), late(2_000)], ["1us", "1999us", "2ms"]);
    assert_eq!([seconds(1), seconds(2), seconds(119), seconds(120)], ["1000ms", "2s", "119s", "2min"]);
    assert_eq!([seconds(7199), seconds(7200), seconds(48 * 3600)], ["119min", "2h", "2d"]);
}

#[test]
fn requests_that_came_too_late_are_one_group_however_late() {
    let fingerprint = |late: i64| {
        let taken = Timestamp::from_micros(at(NOON).micros() + late);
        refusal(Some(at(NOON)), taken).unwrap().fingerprint
    };
    assert_eq!(fingerprint(1), fingerprint(7_777_777_777));
}

#[test]
fn the_time_of_a_request_is_read_in_both_modes_and_of_several_the_earliest_counts() {
    let read = |given: &[(&str, &str)]| decode(REQUESTED, &headers(given), BODY).unwrap().expires;
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[("ce-expirytime", NOON)]), Some(at(NOON)));
    assert_eq!(read(&[("CE-ExpiryTime", "2026-01-31T14:00:00+02:00")]), Some(at(NOON)), "in any zone");
    assert_eq!(read(&[("ce-expirytime", "2026-01-31T12%3A00%3A00Z")]), Some(at(NOON)), "percent-encoded");
    let later = ("ce-expirytime", "2026-01-31T12:00:01Z");
    for both in [[later, ("ce-expirytime", NOON)], [("ce-expirytime", NOON), later]] {
        assert_eq!(read(&both), Some(at(NOON)));
    }
    let enveloped =
        |attributes: &str| decode(REQUESTED, &envelope(), &structured(attributes)).unwrap().expires;
    assert_eq!(enveloped(&format!(r#","expirytime":"{NOON}""#)), Some(at(NOON)));
    assert_eq!(enveloped(r#","expirytime":null"#), None, "null is unset");
    let mut both = envelope();
    both.push("ce-expirytime", later.1);
    let payload = structured(&format!(r#","expirytime":"{NOON}""#));
    assert_eq!(decode(REQUESTED, &both, &payload).unwrap().expires, Some(at(NOON)));
}

#[test]
fn what_is_no_time_is_a_fault_that_names_the_place_the_expectation_and_the_finding() {
    for found in ["", "tomorrow", "1769860800", "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z"] {
        let error = decode(REQUESTED, &headers(&[("ce-expirytime", found)]), BODY).unwrap_err();
        assert_eq!((error.class, error.stage), (FailureClass::Validation, Stage::Decode), "{found}");
        let said = error.to_string();
        for words in ["ce-expirytime", "RFC 3339", &format!("\"{found}\"")] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    for found in [r#""tomorrow""#, "1769860800", "true", r#"{"at":1}"#] {
        let payload = structured(&format!(r#","expirytime":{found}"#));
        let error = decode(REQUESTED, &envelope(), &payload).unwrap_err();
        assert_eq!(error.class, FailureClass::Validation, "{found}");
        let said = error.to_string();
        assert!(said.contains("attribute expirytime") && said.contains(found), "{said}");
    }
    let long = "x".repeat(100_000);
    let error = decode(REQUESTED, &headers(&[("ce-expirytime", &long)]), BODY).unwrap_err();
    assert!(error.reason.len() < 300, "what was found is cut");
}

#[test]
fn facts_never_expire_whatever_stands_there() {
    let trial = br#"{"trial_id":"t","run_id":"r","status":"succeeded"}"#;
    for value in [NOON, "tomorrow", ""] {
        let decoded = decode("ml.run.trial", &headers(&[("ce-expirytime", value)]), trial).unwrap();
        assert_eq!(decoded.expires, None);
    }
    let payload = br#"{"specversion":"1.0","type":"ml.run.trial","expirytime":7,
        "data":{"trial_id":"t","run_id":"r","status":"succeeded"}}"#;
    assert_eq!(decode("ml.run.trial", &envelope(), payload).unwrap().expires, None);
    assert!(Record::ALL.into_iter().filter(|record| may_expire(*record)).eq([Record::RunRequested]));
}

#[test]
fn a_message_without_its_time_is_the_same_in_every_other_byte() {
    let mut given = headers(&[("X", "1"), ("CE-Expirytime", NOON), ("ce-expirytime", "x"), ("ce-id", "i")]);
    let mut payload = BODY.to_vec();
    without(&mut given, &mut payload);
    assert_eq!((given, payload.as_slice()), (headers(&[("X", "1"), ("ce-id", "i")]), BODY));

    for value in [r#""2026-01-31T12:00:00Z""#, "7", r#"{"at": [1]}"#, "null"] {
        let written = structured(&format!("  , \"mine\": 1.50, \"expirytime\" : {value} "));
        let expected = String::from_utf8(written.clone()).unwrap().replacen(value, "null", 1);
        let mut payload = written;
        without(&mut envelope(), &mut payload);
        assert_eq!(String::from_utf8(payload.clone()).unwrap(), expected);
        assert_eq!(decode(REQUESTED, &envelope(), &payload).unwrap().expires, None);
    }
    for other in [&b"{"[..], b"", b"[]", br#"{"expirytime":1,"expirytime":2}"#, br#"{"dataset_id":"digits"}"#]
    {
        let mut payload = other.to_vec();
        without(&mut envelope(), &mut payload);
        assert_eq!(payload, other, "what cannot be read stays");
    }
    let mut binary = structured(r#","expirytime":"x""#);
    let written = binary.clone();
    without(&mut Headers::default(), &mut binary);
    assert_eq!(binary, written, "in binary mode a member of that name is the event's own");
}

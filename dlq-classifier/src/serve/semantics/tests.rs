use schemas::cloudevents::Headers;
use schemas::codec;
use serde_json::{Value, json};

use super::*;

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn event(subject: &str, body: Value) -> Event {
    codec::decode(subject, &Headers::default(), body.to_string().as_bytes()).unwrap().event
}

fn trial(attempt: Option<u32>) -> Event {
    event("ml.run.trial", json!({"trial_id": "t", "run_id": "r", "status": "succeeded", "attempt": attempt}))
}

fn completed(attempt: u32) -> Event {
    event("cerebros.nas.run.completed", json!({"run_id": "r", "attempt": attempt, "status": "succeeded"}))
}

fn started(attempt: u32) -> Event {
    event("cerebros.nas.run.started", json!({"run_id": "r", "attempt": attempt, "worker_id": "w"}))
}

fn at(sequence: u64, id: Option<&str>) -> Message<'_> {
    Message { sequence, id, replay_of: None }
}

fn registered(attempts: u32) -> Known {
    Known { registered: Some(attempts), note: None }
}

fn noted(note: RunNote) -> Known {
    Known { registered: None, note: Some(note) }
}

fn words(finding: Finding) -> String {
    match finding {
        Finding::Fault(failure) => {
            assert_eq!((failure.class, failure.stage), (FailureClass::Validation, Stage::Validate));
            failure.message
        }
        Finding::Sound(_) | Finding::UnknownRun | Finding::Displaces { .. } => panic!("{finding:?}"),
    }
}

#[test]
fn an_attempt_beyond_those_that_were_handed_out_never_existed() {
    assert_eq!(judge(&trial(Some(2)), &run(), at(1, None), &registered(2)), Finding::Sound(None));
    let reason = words(judge(&trial(Some(3)), &run(), at(1, None), &registered(2)));
    assert!(reason.contains("attempt 3 of run \"r\"") && reason.contains("at most 2"), "{reason}");
    words(judge(&started(3), &run(), at(1, None), &registered(2)));
    words(judge(&trial(Some(2)), &run(), at(1, None), &noted(RunNote { started: 1, ended: None })));
}

#[test]
fn attempts_nobody_counts_are_free() {
    assert_eq!(judge(&trial(Some(9)), &run(), at(1, None), &noted(RunNote::default())), Finding::Sound(None));
    assert_eq!(judge(&trial(Some(9)), &run(), at(1, None), &registered(0)), Finding::Sound(None));
    let next = judge(&started(2), &run(), at(1, None), &noted(RunNote { started: 1, ended: None }));
    assert_eq!(next, Finding::Sound(Some(RunNote { started: 2, ended: None })));
}

#[test]
fn a_trial_is_of_a_run_somebody_has_announced() {
    assert_eq!(judge(&trial(None), &run(), at(1, None), &Known::default()), Finding::UnknownRun);
    let start = event("ml.run.start", json!({"run_id": "r", "timestamp": "2026-01-01T00:00:00Z"}));
    let Finding::Sound(Some(note)) = judge(&start, &run(), at(1, None), &Known::default()) else { panic!() };
    assert_eq!(judge(&trial(None), &run(), at(2, None), &noted(note)), Finding::Sound(None));
    assert_eq!(
        judge(&start, &run(), at(1, None), &registered(1)),
        Finding::Sound(None),
        "the registry has it"
    );
    assert!(unknown_run(&trial(None), &run()).message.contains("TrialReported of the unknown run \"r\""));
}

#[test]
fn a_run_ends_once() {
    let Finding::Sound(Some(note)) = judge(&completed(1), &run(), at(5, Some("r:1")), &registered(1)) else {
        panic!()
    };
    let known = Known { note: Some(note), ..registered(1) };
    let reason = words(judge(&completed(1), &run(), at(9, None), &known));
    assert!(reason.contains("second terminal event") && reason.contains("message 5"), "{reason}");
    words(judge(&completed(1), &run(), at(9, Some("another")), &known));
    // The same message, and copies of it.
    for message in [at(5, None), at(9, Some("r:1")), at(4, Some("r:1"))] {
        assert_eq!(judge(&completed(1), &run(), message, &known), Finding::Sound(None));
    }
    // Our replay of it, under either kind of id.
    let replay = |id| Message { sequence: 9, id, replay_of: Some("5-abcdef01") };
    assert_eq!(judge(&completed(1), &run(), replay(Some("5-abcdef01/r1")), &known), Finding::Sound(None));
    let other = Message { sequence: 9, id: Some("r:1/r2"), replay_of: Some("7-abcdef01") };
    assert_eq!(judge(&completed(1), &run(), other, &known), Finding::Sound(None));
}

#[test]
fn an_end_that_came_first_and_is_judged_late_is_the_first_all_the_same() {
    let ended = |attempt, id: Option<&str>| Known {
        note: Some(RunNote {
            started: 0,
            ended: Some(Ended { sequence: 20, id: id.map(str::to_owned), attempt }),
        }),
        ..registered(2)
    };
    let Finding::Displaces { sequence, failure, note } =
        judge(&completed(1), &run(), at(10, Some("first")), &ended(1, Some("second")))
    else {
        panic!()
    };
    assert!(failure.message.contains("had ended with message 10 already, in attempt 1"), "{failure:?}");
    assert_eq!((sequence, note.ended.map(|first| first.sequence)), (20, Some(10)));
    // The run was begun again between the two.
    assert_eq!(judge(&completed(1), &run(), at(10, None), &ended(2, None)), Finding::Sound(None));
    // The other is our replay of it.
    for (id, replay) in [(Some("first"), "first/r1"), (None, "10-abcdef01/r1")] {
        let known = ended(1, Some(replay));
        assert_eq!(judge(&completed(1), &run(), at(10, id), &known), Finding::Sound(None), "{replay}");
    }
}

#[test]
fn a_run_that_was_begun_again_ends_again() {
    let ended = RunNote { started: 0, ended: Some(Ended { sequence: 5, id: None, attempt: 1 }) };
    let known = Known { note: Some(ended), ..registered(2) };
    let Finding::Sound(Some(note)) = judge(&completed(2), &run(), at(9, None), &known) else { panic!() };
    assert_eq!(note.ended.unwrap().sequence, 9);
}

use schemas::cloudevents::Headers;
use schemas::event::{MlRunStarted, RunInterrupted, RunStarted, TrialStatus};

use super::*;

fn run() -> RunId {
    RunId::parse("r").unwrap()
}

fn reading(run: &RunId, epoch: u32) -> Reading<'_> {
    Reading { run, first_sequence: 1, attempt: 9, epoch, reports_of: None }
}

fn trial(number: u32, attempt: u32, status: TrialStatus) -> Event {
    let mut trial = TrialReported::new(run(), TrialId::numbered(&run(), number.into()), status);
    trial.number = Some(number);
    trial.attempt = Some(attempt);
    trial.into()
}

fn started(attempt: u32) -> Event {
    RunStarted {
        run_id: run(),
        attempt,
        worker_id: "w".to_owned(),
        dataset_id: "digits".to_owned(),
        objective: "accuracy".to_owned(),
        resumed_trials: 0,
    }
    .into()
}

fn taken(events: impl IntoIterator<Item = (i64, Event)>, epoch: u32) -> Checkpoint {
    let (run, mut checkpoint) = (run(), Checkpoint::default());
    for (seconds, event) in events {
        checkpoint.take(event, Timestamp::from_micros(seconds * 1_000_000), &reading(&run, epoch));
    }
    checkpoint
}

#[test]
fn trials_of_every_attempt_count_until_a_restart_forgets_what_failed() {
    let events = [
        trial(0, 1, TrialStatus::Succeeded),
        trial(1, 1, TrialStatus::Failed),
        trial(2, 2, TrialStatus::Failed),
    ]
    .map(|event| (0, event));
    let numbers = |checkpoint: Checkpoint| -> Vec<u64> {
        checkpoint.trials.into_iter().map(|(number, _)| number).collect()
    };
    assert_eq!(numbers(taken(events.clone(), 0)), [0, 1, 2]);
    assert_eq!(numbers(taken(events, 2)), [0, 2]);
}

fn opened(checkpoint: &mut Checkpoint, epoch: u32, at: u32, sha256: &str) {
    let body = serde_json::json!({"run_id": "r", "timestamp": "2026-01-01T00:00:00Z",
        "extra": {DATASET_SHA256: sha256}});
    let event: Event = serde_json::from_value::<MlRunStarted>(body).unwrap().into();
    let run = run();
    let id = event.message_id(&run, 0, at);
    let mut headers = Headers::default();
    headers.push(header::MESSAGE_ID, id);
    checkpoint.note_opening(&event, &headers, &reading(&run, epoch));
}

#[test]
fn the_data_set_of_a_run_is_the_one_its_first_trial_was_trained_on() {
    let mut checkpoint = Checkpoint::default();
    opened(&mut checkpoint, 3, 0, "a");
    opened(&mut checkpoint, 3, 2, "b");
    assert_eq!(checkpoint.dataset_sha256.as_deref(), Some("b"), "nothing was trained on the first");
    assert_eq!(checkpoint.bound_to(), None, "of earlier epochs, with nothing trained");
    let mut announced = Checkpoint::default();
    opened(&mut announced, 2, 2, "a");
    assert_eq!(announced.bound_to(), Some("a"), "what is announced is not announced again");
    opened(&mut checkpoint, 3, 9, "stranger");
    checkpoint.trials = taken([(0, trial(0, 2, TrialStatus::Succeeded))], 0).trials;
    opened(&mut checkpoint, 3, 3, "c");
    assert_eq!(checkpoint.dataset_sha256.as_deref(), Some("b"));
    assert!(checkpoint.is_opened);
}

#[test]
fn the_time_of_a_run_is_that_of_its_attempts_and_not_the_time_between_them() {
    let events = [
        (10, started(1)),
        (14, trial(0, 1, TrialStatus::Succeeded)),
        (1000, started(2)),
        (1003, trial(1, 2, TrialStatus::Succeeded)),
    ];
    assert_eq!(taken(events, 0).active(), Duration::from_secs(7));
}

#[test]
fn losses_in_a_row_begin_anew_with_a_trial_and_with_an_attempt_that_was_stopped_in_order() {
    let lost = |events: Vec<Event>| taken(events.into_iter().map(|event| (0, event)), 0);
    let fruitless = lost(vec![started(1), started(2), started(3)]);
    assert_eq!(fruitless.losses_in_a_row(4, 3), 3);
    assert_eq!(fruitless.losses_in_a_row(4, 1), 1, "the others were no losses");
    let fruitful = lost(vec![started(1), started(2), trial(0, 2, TrialStatus::Failed), started(3)]);
    assert_eq!(fruitful.losses_in_a_row(4, 3), 1);
    let stopped: Event =
        RunInterrupted { run_id: run(), attempt: 3, reason: None, completed_trials: 0, duration_ms: 0 }
            .into();
    assert_eq!(lost(vec![started(1), started(2), started(3), stopped]).losses_in_a_row(4, 2), 0);
}

use schemas::event::RunRequested;
use schemas::{RunId, TrialId};
use serde_json::json;

use super::*;
use crate::plan::{Allowed, plan};

fn conduct(budget: serde_json::Value) -> Conduct {
    let body = json!({"dataset_id": "mine", "entrypoint": "mine:run_nas", "budget": budget});
    let request: RunRequested = serde_json::from_value(body).unwrap();
    let allowed = Allowed { entrypoints: vec!["*".to_owned()], has_script: false };
    Conduct::new(&plan(&RunId::parse("r").unwrap(), &request, &allowed).unwrap())
}

fn trial(number: u32, accuracy: Option<f64>) -> TrialReported {
    let run = RunId::parse("r").unwrap();
    let status = if accuracy.is_some() { TrialStatus::Succeeded } else { TrialStatus::Failed };
    let mut trial = TrialReported::new(run.clone(), TrialId::numbered(&run, number.into()), status);
    trial.number = Some(number);
    trial.parameters = json!({"n": number}).into();
    trial.metrics = accuracy.map(|value| ("accuracy".to_owned(), value.into())).into_iter().collect();
    trial.failure =
        accuracy.is_none().then(|| Failure::new(FailureClass::UserCode, Stage::Execute, "it broke"));
    trial
}

/// The function tells of a trial; what is ordered then.
fn tell(conduct: &mut Conduct, number: Option<u32>, accuracy: Option<f64>) -> (Admission, Option<Stop>) {
    let told = trial(number.unwrap_or(conduct.next_number()), accuracy);
    let admission = conduct.admit(number, &told.parameters.0);
    let order = match admission {
        Admission::New(number) => conduct.count(number, &told),
        Admission::Known { .. } | Admission::Beyond => conduct.order(),
    };
    (admission, order)
}

#[test]
fn trials_are_numbered_as_they_come_and_the_best_is_known() {
    let mut conduct = conduct(json!({}));
    for (number, accuracy) in [(0, 0.5), (1, 0.9), (2, 0.7)] {
        assert_eq!(tell(&mut conduct, None, Some(accuracy)), (Admission::New(number), None));
    }
    assert_eq!((conduct.counts(), conduct.best().unwrap().number), ((3, 0), 1));
    assert_eq!(conduct.end(Returned::Well), Ending::Completed { status: "succeeded" });
}

#[test]
fn one_trial_more_than_the_budget_stops_the_function_and_does_not_count() {
    let mut conduct = conduct(json!({"max_trials": 2}));
    tell(&mut conduct, None, Some(0.5));
    assert_eq!(tell(&mut conduct, None, Some(0.6)).1, None, "the last one it may have");
    assert_eq!(tell(&mut conduct, None, Some(0.9)), (Admission::Beyond, Some(Stop::Cancelled)));
    assert_eq!((conduct.counts().0, conduct.best().unwrap().objective), (2, 0.6));
    assert_eq!(conduct.end(Returned::Well), Ending::Completed { status: "max_trials" });
}

#[test]
fn a_budget_of_trials_of_which_none_succeeded_fails_the_run() {
    let mut conduct = conduct(json!({"max_trials": 1}));
    tell(&mut conduct, None, None);
    tell(&mut conduct, None, Some(0.9));
    let Ending::Failed { failure, budget } = conduct.end(Returned::Dropped) else { panic!("no failure") };
    assert_eq!((failure.class, budget), (FailureClass::UserCode, Some("max_trials")));
    assert!(failure.message.contains("it broke"), "{}", failure.message);
}

#[test]
fn a_new_attempt_begins_at_0_and_what_is_known_counts_once() {
    let mut conduct = conduct(json!({"max_trials": 3}));
    conduct.resume(&trial(0, Some(0.5)));
    conduct.resume(&trial(1, Some(0.6)));
    conduct.begin();
    let known = |number, is_same| Admission::Known { number, is_same };
    assert_eq!(tell(&mut conduct, None, Some(0.5)).0, known(0, true));
    assert_eq!(conduct.admit(Some(1), &json!({"n": "other"})), known(1, false));
    assert_eq!(tell(&mut conduct, None, Some(0.7)).0, Admission::New(2));
    assert_eq!(conduct.counts().0, 3);
}

#[test]
fn a_function_may_number_its_trials_itself() {
    let mut conduct = conduct(json!({}));
    assert_eq!(tell(&mut conduct, Some(7), Some(0.5)).0, Admission::New(7));
    assert_eq!(tell(&mut conduct, None, Some(0.5)).0, Admission::New(8));
    assert_eq!(tell(&mut conduct, Some(7), Some(0.5)).0, Admission::Known { number: 7, is_same: true });
}

#[test]
fn failures_end_the_run_at_their_budget_and_no_trial_counts_after_it() {
    for (budget, name) in [
        (json!({"max_failed_trials": 2}), "max_failed_trials"),
        (json!({"max_consecutive_failures": 2}), "max_consecutive_failures"),
    ] {
        let mut conduct = conduct(budget);
        tell(&mut conduct, None, None);
        assert_eq!(tell(&mut conduct, None, None).1, Some(Stop::Cancelled));
        assert_eq!(tell(&mut conduct, None, None).0, Admission::Beyond);
        assert_eq!(conduct.counts(), (2, 2));
        let Ending::Failed { budget, .. } = conduct.end(Returned::Well) else { panic!("{name}") };
        assert_eq!(budget, Some(name));
    }
}

#[test]
fn the_end_of_the_time_keeps_the_best_there_is() {
    let mut lucky = conduct(json!({}));
    tell(&mut lucky, None, Some(0.5));
    assert_eq!(lucky.hear(News::OutOfTime), Some(Stop::Cancelled));
    assert_eq!(lucky.end(Returned::Dropped), Ending::Completed { status: "max_seconds" });
    let mut unlucky = conduct(json!({}));
    unlucky.hear(News::OutOfTime);
    let Ending::Failed { failure, budget } = unlucky.end(Returned::Dropped) else { panic!("no failure") };
    assert_eq!((failure.class, budget), (FailureClass::TimeoutRun, Some("max_seconds")));
}

#[test]
fn a_worker_that_drains_begins_no_call() {
    let mut waiting = conduct(json!({}));
    assert_eq!(waiting.hear(News::Drain), Some(Stop::Dropped));
    let mut between = conduct(json!({}));
    between.begin();
    between.rest();
    assert_eq!(between.hear(News::Drain), Some(Stop::Dropped));
    assert_eq!(between.end(Returned::Dropped), Ending::Interrupted);
}

#[test]
fn what_ends_a_run_first_stays_unless_there_is_no_time_for_it() {
    let cancel = || News::Cancel { reason: None };
    let mut conduct = conduct(json!({}));
    conduct.begin();
    assert_eq!(conduct.hear(News::Drain), None, "it may finish");
    assert!(!conduct.may_go_on(), "it is not called again");
    assert_eq!(conduct.hear(cancel()), Some(Stop::Cancelled));
    conduct.hear(News::OutOfTime);
    assert_eq!(conduct.ending, Some(Ending::Cancelled { reason: None }));
    assert_eq!(conduct.hear(News::Interrupt), Some(Stop::Dropped));
    assert_eq!(conduct.hear(News::Stale), Some(Stop::Dropped));
    conduct.hear(News::Interrupt);
    assert_eq!(conduct.end(Returned::Well), Ending::Stale);
}

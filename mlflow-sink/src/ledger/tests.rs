use futures_util::FutureExt as _;
use schemas::TrialId;
use schemas::event::{TrialReported, TrialStatus};
use service_kit::clock;

use super::record::{Child, Parent};
use super::*;
use crate::projection::Point;

async fn open(dir: &testkit::Scratch, server: &str) -> Ledger {
    let ledger = Ledger::open(&dir.join("ledger")).await.unwrap();
    ledger.turn_to(server).unwrap();
    ledger
}

fn ids(run: &str) -> (RunId, TrialId) {
    let run = RunId::parse(run).unwrap();
    let trial = TrialId::numbered(&run, 1);
    (run, trial)
}

fn point() -> Point {
    Point { key: "m".into(), value: 1.0, timestamp: 1, step: 0 }
}

#[tokio::test]
async fn what_was_flushed_is_there_after_a_restart() {
    let dir = testkit::Scratch::new();
    let (run, trial) = ids("r");
    let (mut parent, mut child) = (Parent::created("p".into(), "1".into()), Child::created("c".into()));
    parent.steps.insert(&point());
    child.steps.insert(&point());
    let event = TrialReported::new(run.clone(), trial.clone(), TrialStatus::Succeeded).into();
    parent.mark(&event);
    let ledger = open(&dir, "a").await;
    ledger.put_parent(&run, &parent).unwrap();
    ledger.put_child(&run, &trial, &child).unwrap();
    ledger.flush().await.unwrap();
    drop(ledger);
    let ledger = open(&dir, "a").await;
    assert_eq!(ledger.parent(&run).unwrap().as_ref(), Some(&parent));
    assert_eq!(ledger.child(&run, &trial).unwrap(), Some(child));
    assert!(parent.has(&event));
}

#[tokio::test]
async fn a_write_that_was_not_finished_is_not_trusted_about_metrics() {
    let dir = testkit::Scratch::new();
    let (run, trial) = ids("r");
    let mut child = Child::created("c".into());
    child.steps.insert(&point());
    child.is_open = true;
    let ledger = open(&dir, "a").await;
    ledger.put_child(&run, &trial, &child).unwrap();
    let found = ledger.child(&run, &trial).unwrap().unwrap();
    assert!(found.steps.must_be_asked("m"));
    assert_eq!(found.mlflow_id, "c");
}

#[tokio::test]
async fn another_server_has_another_ledger() {
    let dir = testkit::Scratch::new();
    let (run, _) = ids("r");
    let ledger = open(&dir, "a").await;
    ledger.put_parent(&run, &Parent::created("p".into(), "1".into())).unwrap();
    drop(ledger);
    assert_eq!(open(&dir, "b").await.parent(&run).unwrap(), None);
}

#[tokio::test]
async fn forgetting_a_run_forgets_its_trials_and_no_other() {
    let dir = testkit::Scratch::new();
    let ledger = open(&dir, "a").await;
    // One id is the beginning of the other.
    for name in ["r", "r-2"] {
        let (run, trial) = ids(name);
        ledger.put_parent(&run, &Parent::created("p".into(), "1".into())).unwrap();
        ledger.put_child(&run, &trial, &Child::created("c".into())).unwrap();
    }
    let ((gone, gone_trial), (kept, kept_trial)) = (ids("r"), ids("r-2"));
    ledger.forget(&gone).unwrap();
    assert!(ledger.parent(&gone).unwrap().is_none() && ledger.child(&gone, &gone_trial).unwrap().is_none());
    assert!(ledger.parent(&kept).unwrap().is_some() && ledger.child(&kept, &kept_trial).unwrap().is_some());
}

#[tokio::test]
async fn a_ledger_in_use_is_an_error_that_names_it() {
    let dir = testkit::Scratch::new();
    let _first = open(&dir, "a").await;
    let error = Ledger::open(&dir.join("ledger")).await.unwrap_err();
    assert_eq!((error.code, error.exit), ("ledger", Exit::LocalResource));
}

#[tokio::test]
async fn a_directory_that_is_let_go_of_is_opened_after_all() {
    let dir = testkit::Scratch::new();
    let place = dir.join("ledger");
    std::fs::create_dir_all(&place).unwrap();
    let file = std::fs::File::create(place.join("db")).unwrap();
    file.lock().unwrap();
    let mut opening = std::pin::pin!(Ledger::open(&place));
    assert!(opening.as_mut().now_or_never().is_none(), "it waits");
    drop(file);
    opening.await.unwrap();
}

#[tokio::test]
async fn a_damaged_ledger_is_begun_anew() {
    let dir = testkit::Scratch::new();
    let (run, _) = ids("r");
    let ledger = open(&dir, "a").await;
    ledger.put_parent(&run, &Parent::created("p".into(), "1".into())).unwrap();
    drop(ledger);
    // Its threads write no more when they let go of it.
    std::fs::File::open(dir.join("ledger/db")).unwrap().lock().unwrap();
    for entry in std::fs::read_dir(dir.join("ledger")).unwrap().flatten() {
        if entry.path().is_file() {
            std::fs::write(entry.path(), b"no ledger at all").unwrap();
        }
    }
    assert_eq!(open(&dir, "a").await.parent(&run).unwrap(), None);
}

#[tokio::test]
async fn the_same_server_has_its_ledger_again_after_another_one() {
    let dir = testkit::Scratch::new();
    let (run, _) = ids("r");
    let ledger = open(&dir, "a").await;
    ledger.put_parent(&run, &Parent::created("p".into(), "1".into())).unwrap();
    ledger.turn_to("b").unwrap();
    assert_eq!(ledger.parent(&run).unwrap(), None);
    ledger.turn_to("a").unwrap();
    assert!(ledger.parent(&run).unwrap().is_some());
    ledger.turn_to("b").unwrap();
    ledger.forget_all().unwrap();
    ledger.turn_to("a").unwrap();
    assert_eq!(ledger.parent(&run).unwrap(), None);
}

#[tokio::test]
async fn what_nobody_wrote_to_for_a_week_is_dropped_whole_and_what_older_versions_left_too() {
    let dir = testkit::Scratch::new();
    let ledger = open(&dir, "a").await;
    for name in ["r", "r-2"] {
        let (run, trial) = ids(name);
        ledger.put_parent(&run, &Parent::created("p".into(), "1".into())).unwrap();
        ledger.put_child(&run, &trial, &Child::created("c".into())).unwrap();
    }
    ledger.db.open_tree("http://127.0.0.1:5000").unwrap().insert("run/r", "{}").unwrap();
    let after = |seconds: u64| {
        let millis = clock::now().millis() + i64::try_from((KEPT.as_secs() + seconds) * 1000).unwrap();
        Timestamp::from_micros(millis * 1000)
    };
    let (run, trial) = ids("r");
    ledger.drop_old(clock::now()).unwrap();
    assert!(ledger.parent(&run).unwrap().is_some());
    assert!(!ledger.db.tree_names().iter().any(|name| name.starts_with(b"http")));
    ledger.drop_old(after(60)).unwrap();
    assert!(ledger.parent(&run).unwrap().is_none() && ledger.child(&run, &trial).unwrap().is_none());
    assert_eq!(ledger.records().len(), 0);
}

/// A trial as the server has it, with these tags.
fn found(tags: &[(&str, &str)]) -> Child {
    let tags = tags.iter().map(|(name, value)| (format!("cerebros.{name}"), (*value).to_owned())).collect();
    let (run_id, experiment_id) = ("c".to_owned(), "1".to_owned());
    let metrics = std::collections::BTreeMap::new();
    Child::found(&crate::client::FoundRun { run_id, experiment_id, end_time: Some(9), tags, metrics })
}

#[test]
fn a_trial_that_is_found_is_trained_again_by_the_attempt_its_tags_name() {
    let over = found(&[("attempt", "1"), ("status", "failed")]);
    assert!(over.begins_again_in(2) && !over.begins_again_in(1));
    let again = found(&[("attempt", "2"), ("before", "failed in attempt 1")]);
    let by_an_older_version = found(&[("attempt", "2")]);
    for mut again in [again, by_an_older_version] {
        assert!(again.begins_again_in(3) && !again.begins_again_in(2));
        assert!(again.is_past_report(Some(1)) && !again.is_past_report(Some(2)));
        assert!(again.is_past_value(Some(1)) && !again.is_past_value(Some(2)));
        again.steps.learn("m", [point()].into_iter(), again.ended_at);
        assert!(again.steps.insert(&point()), "what there is was written by an attempt before it, perhaps");
    }
    let is_new = found(&[]);
    assert!(!is_new.begins_again_in(1) && !is_new.is_past_report(Some(1)));
}

#[test]
fn a_trial_whose_second_training_was_begun_by_half_is_begun_again() {
    let noted = [("attempt", "1"), ("before", "failed in attempt 1"), ("status", "failed")];
    let torn = [noted[0], noted[1]];
    assert!(found(&noted).begins_again_in(2) && found(&torn).begins_again_in(2));
}

#[test]
fn what_it_is_valid_for_is_forgotten_with_the_rest() {
    let ledger = Ledger::temporary().unwrap();
    assert_eq!(ledger.valid_up_to().unwrap(), None);
    ledger.is_valid_up_to(7).unwrap();
    assert_eq!(ledger.valid_up_to().unwrap(), Some(7));
    ledger.forget_all().unwrap();
    assert_eq!(ledger.valid_up_to().unwrap(), None);
}

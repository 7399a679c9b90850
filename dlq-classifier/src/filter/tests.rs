use clap::Parser as _;

use super::*;
use crate::entry::Entry;

#[derive(clap::Parser)]
struct Typed {
    #[command(flatten)]
    filter: Filter,
}

fn typed(flags: &str) -> Filter {
    Typed::try_parse_from(std::iter::once("x").chain(flags.split_whitespace()))
        .unwrap_or_else(|e| panic!("{e}"))
        .filter
}

fn now() -> Timestamp {
    Timestamp::parse("2026-01-02T00:00:00Z").unwrap()
}

fn entry() -> Entry {
    Entry {
        id: "7-abcd".into(),
        state: State::Open,
        class: FailureClass::Validation,
        stage: Stage::Decode,
        reason: "r".into(),
        fingerprint: "0123456789ab".into(),
        stream: "CEREBROS".into(),
        seq: 7,
        consumer: "dlq-classifier".into(),
        subject: "ml.run.trial".into(),
        run_id: Some("r1".into()),
        deliveries: 1,
        first_seen: Timestamp::default(),
        replays: 0,
        bytes: 1,
        seen: Timestamp::parse("2026-01-01T22:00:00Z").unwrap(),
        kept_at: 1,
    }
}

#[test]
fn every_flag_given_must_hold() {
    let taken = [
        "",
        "--class validation",
        "--stage decode --state open",
        "--subject ml.run.trial",
        "--subject ml.run.*",
        "--subject ml.>",
        "--run r1 --fingerprint 0123",
        "--since 3h",
        "--since 2026-01-01T22:00:00Z",
        "--class validation --stage decode --subject *.run.trial --run r1 --fingerprint 0123456789ab --since 2h --state open",
    ];
    for flags in taken {
        assert!(typed(flags).takes(&entry(), now()), "{flags}");
    }
    let left = [
        "--class decode",
        "--stage validate",
        "--state replayed",
        "--subject ml.run",
        "--subject ml.run.*.x",
        "--subject ml.run.trial.>",
        "--subject cerebros.>",
        "--run r2",
        "--fingerprint 9",
        "--since 1h",
        "--class validation --run r2",
    ];
    for flags in left {
        assert!(!typed(flags).takes(&entry(), now()), "{flags}");
    }
}

#[test]
fn no_flag_is_no_filter_and_a_filter_is_recorded_as_it_was_typed() {
    assert!(typed("").is_empty());
    let text = "--class validation --subject ml.run.* --since 7200s --state open";
    assert!(!typed(text).is_empty());
    assert_eq!(typed(text).to_string(), text);
}

#[test]
fn an_entry_without_run_is_not_taken_by_a_run() {
    let entry = Entry { run_id: None, ..entry() };
    assert!(!typed("--run r1").takes(&entry, now()));
    assert!(typed("").takes(&entry, now()));
}

#[test]
fn a_flag_that_means_nothing_is_refused() {
    for flags in ["--class nonsense", "--stage later", "--state lost", "--since yesterday", "--since -3h"] {
        assert!(
            Typed::try_parse_from(std::iter::once("x").chain(flags.split_whitespace())).is_err(),
            "{flags}"
        );
    }
}

use super::*;

fn at() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000)
}

/// What is said about values that follow each other.
fn said(kind: Kind, bounds: &Bounds, values: &[f64]) -> Vec<(f64, State)> {
    let mut state = State::Cleared;
    let mut all = Vec::new();
    for &value in values {
        if let Some(alert) = judge(kind, state, value, bounds, at()) {
            state = alert.state;
            all.push((value, state));
        }
    }
    all
}

#[test]
fn a_bound_is_crossed_once_and_cleared_once_however_the_value_wavers() {
    let bounds = Bounds { depth: 10, ..Bounds::default() };
    let values = [0.0, 9.0, 10.0, 12.0, 9.0, 10.0, 8.0, 7.0, 9.0, 0.0];
    assert_eq!(said(Kind::Depth, &bounds, &values), [(10.0, State::Crossed), (7.0, State::Cleared)]);
}

#[test]
fn one_expiring_entry_is_enough_and_none_clears_it() {
    let bounds = Bounds::default();
    assert_eq!(
        said(Kind::Expiring, &bounds, &[0.0, 1.0, 5.0, 0.0]),
        [(1.0, State::Crossed), (0.0, State::Cleared)]
    );
}

#[test]
fn every_alert_says_what_to_do_and_is_read_as_it_was_written() {
    for kind in Kind::ALL {
        let alert = judge(kind, State::Cleared, 1e9, &Bounds::default(), at()).unwrap();
        assert!(
            alert.message.contains("CEREBROS_DLQ") || alert.message.contains("`dlq-classifier "),
            "{alert:?}"
        );
        let text = serde_json::to_string(&alert).unwrap();
        assert_eq!(serde_json::from_str::<Alert>(&text).unwrap(), alert);
        assert_eq!(kind.subject(), format!("cerebros.dlq.alert.{}", kind.as_str()));
    }
}

#[test]
fn a_bound_of_no_time_at_all_is_crossed_by_any_entry_and_cleared_by_none() {
    let bounds = Bounds { age: Duration::ZERO, ..Bounds::default() };
    let judged = |said, value| judge(Kind::Age, said, value, &bounds, Timestamp::default());
    assert_eq!(judged(State::Cleared, 0.0), None);
    assert_eq!(judged(State::Cleared, 0.5).unwrap().state, State::Crossed);
    assert_eq!(judged(State::Crossed, 0.5), None);
    assert_eq!(judged(State::Crossed, 0.0).unwrap().state, State::Cleared);
}

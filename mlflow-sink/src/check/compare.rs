//! One MLflow run as it should be, held against the one there is.
//!
//! Deliberately not compared: what people add (tags and parameters of other names, notes), what does not follow from the
//! events (names, times of creation, files), and the values of a run MLflow refused a part of.

use service_kit::births::BIRTH_TAG;

use super::finding::Kind;
use crate::client::HistoryPoint;
use crate::client::whole::WholeRun;
use crate::projection::RunStatus;
use crate::projection::expected::{Facts, Image, Names, Tally};
use crate::projection::logged_model::LOGGED_MODEL_TAG;
use crate::projection::model::{MODEL_PREFIX, NOT_UPLOADED_PREFIX};
use crate::projection::originals::ORIGINALS_TAG;
use crate::projection::parent::{BEST_PREFIX, FAILED_METRIC, FINISHED_METRIC, PRUNED_METRIC, REFUSED_TAG};
use crate::projection::trial::{BEFORE_TAG, PARENT_TAG};

/// Longest value that is quoted, in characters.
const QUOTE: usize = 60;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What kind of.
    pub kind: Kind,
    /// In words.
    pub detail: String,
    /// A tag that has to go, so that the right one can be written.
    pub tag: Option<String>,
}

impl Wrong {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), tag: None }
    }
}

/// Every difference but those of the histories.
pub fn compare(expected: &Image, has_firm_curve: bool, names: &Names, found: &WholeRun) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    status(expected, found, &mut wrong);
    if is_torn(expected, found) {
        return wrong;
    }
    params(expected, names, found, &mut wrong);
    tags(expected, names, found, &mut wrong);
    metrics(expected, has_firm_curve, names, found, &mut wrong);
    wrong
}

/// True when MLflow refused a part of what was said about it: as the dead letters tell, or its own tag.
pub fn is_torn(expected: &Image, found: &WholeRun) -> bool {
    expected.is_partial() || found.tags.contains_key(REFUSED_TAG)
}

fn status(expected: &Image, found: &WholeRun, wrong: &mut Vec<Wrong>) {
    let should = expected.status.as_str();
    if found.status != should {
        let is_left = found.status == RunStatus::Running.as_str();
        let kind = if is_left { Kind::LeftoverRunning } else { Kind::WrongStatus };
        wrong.push(Wrong::new(kind, format!("it is {}, and should be {should}", found.status)));
        if is_left {
            return;
        }
    }
    if expected.status != RunStatus::Running && expected.end_time != found.end_time {
        let text = |time: Option<i64>| time.map_or_else(|| "none".to_owned(), |time| time.to_string());
        let (is, should) = (text(found.end_time), text(expected.end_time));
        wrong.push(Wrong::new(Kind::WrongEnd, format!("its end is {is}, and should be {should}")));
    }
}

fn params(expected: &Image, names: &Names, found: &WholeRun, wrong: &mut Vec<Wrong>) {
    for (name, should) in expected.params.iter() {
        let name = names.text(name);
        match found.params.get(name) {
            None => wrong.push(Wrong::new(Kind::WrongParam, format!("parameter {name} is missing"))),
            Some(value) if Facts::hash(value) != should => {
                let value = quoted(value);
                wrong.push(Wrong::new(
                    Kind::WrongParam,
                    format!("parameter {name} is {value}, not what was said"),
                ));
            }
            Some(_) => {}
        }
    }
}

fn tags(expected: &Image, names: &Names, found: &WholeRun, wrong: &mut Vec<Wrong>) {
    for (name, should) in expected.tags.iter() {
        let name = names.text(name);
        match found.tags.get(name) {
            None => wrong.push(Wrong::new(Kind::WrongTag, format!("tag {name} is missing"))),
            Some(value) if Facts::hash(value) != should => {
                let detail = format!("tag {name} is {}, not what was said", quoted(value));
                wrong.push(Wrong { tag: Some(name.to_owned()), ..Wrong::new(Kind::WrongTag, detail) });
            }
            Some(_) => {}
        }
    }
    for name in found.tags.keys().filter(|name| is_ours(name)) {
        if names.find(name).and_then(|name| expected.tags.get(name)).is_none() {
            let detail = format!("tag {name} should not be there");
            wrong.push(Wrong { tag: Some(name.clone()), ..Wrong::new(Kind::WrongTag, detail) });
        }
    }
}

/// A tag that only we write, and that follows from the events.
fn is_ours(name: &str) -> bool {
    let is_free = [BIRTH_TAG, BEFORE_TAG, LOGGED_MODEL_TAG, ORIGINALS_TAG].contains(&name)
        || name.starts_with(MODEL_PREFIX)
        || name.starts_with(NOT_UPLOADED_PREFIX.trim_end_matches('.'));
    name.starts_with("cerebros.") && !is_free && name != PARENT_TAG
}

fn metrics(expected: &Image, has_firm_curve: bool, names: &Names, found: &WholeRun, wrong: &mut Vec<Wrong>) {
    let is_compared = |key: &str| has_firm_curve || !is_curve(key);
    for (name, _) in &expected.metrics {
        let key = names.text(*name);
        if is_compared(key) && !found.metrics.iter().any(|point| point.key == key) {
            wrong.push(Wrong::new(Kind::MissingMetric, format!("metric {key} is missing")));
        }
    }
    for point in found.metrics.iter().filter(|point| is_compared(&point.key)) {
        if names.find(&point.key).and_then(|name| expected.metric(name)).is_none() {
            wrong.push(Wrong::new(Kind::SurplusMetric, format!("nobody reported the metric {}", point.key)));
        }
    }
}

fn is_curve(key: &str) -> bool {
    key.starts_with(BEST_PREFIX) || [FINISHED_METRIC, FAILED_METRIC, PRUNED_METRIC].contains(&key)
}

/// The difference between the points a metric should have and those it has.
pub fn compare_history(key: &str, should: &Tally, mut points: Vec<HistoryPoint>) -> Option<Wrong> {
    points.sort_by(|a, b| {
        (a.step, a.timestamp).cmp(&(b.step, b.timestamp)).then(a.value.0.total_cmp(&b.value.0))
    });
    let mut is = Tally::none();
    for point in &points {
        is.add(point.step, point.timestamp, point.value.0);
    }
    if should.is_loose {
        let is_same = is.latest.2.to_bits() == should.latest.2.to_bits();
        return (!is_same).then(|| {
            let detail = format!("metric {key} ends with {}, not with {}", is.latest.2, should.latest.2);
            Wrong::new(Kind::MissingMetric, detail)
        });
    }
    let counts = format!("metric {key} has {} points of {}", is.count, should.count);
    match is.count.cmp(&should.count) {
        std::cmp::Ordering::Less => Some(Wrong::new(Kind::MissingMetric, counts)),
        std::cmp::Ordering::Greater => {
            let detail = format!("metric {key} has {} points, and {} were reported", is.count, should.count);
            Some(Wrong::new(Kind::SurplusMetric, detail))
        }
        std::cmp::Ordering::Equal if is.sum != should.sum => {
            let detail = format!("metric {key} has as many points as were reported, but others");
            Some(Wrong::new(Kind::MissingMetric, detail))
        }
        std::cmp::Ordering::Equal => None,
    }
}

fn quoted(value: &str) -> String {
    if value.chars().count() <= QUOTE {
        return format!("\"{value}\"");
    }
    format!("\"{}...\"", value.chars().take(QUOTE).collect::<String>())
}

#[cfg(test)]
mod tests;

//! Values that are no numbers: NaN and the infinities, with the steps they came at.
//!
//! MLflow's stores turn them into 0 and 1.8e308, so they are never sent as values. One tag a metric tells them all, as
//! JSON: `{"NaN":[[3,7]],"final":"Infinity","name":"loss (train)"}` says NaN at the steps 3 to 7, infinity at the end.

use serde::{Deserialize, Serialize};

use super::steps::StepSet;

/// Most ranges of steps of one kind that are told; with them the tag stays within every server's limit.
const MAX_RANGES: usize = 30;
/// Longest original name that is told here; a longer one stands in its own tag.
const NAME_CHARS: usize = 500;

/// The values of one metric that are no numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NonFinite {
    #[serde(rename = "NaN", skip_serializing_if = "StepSet::is_empty")]
    nan: StepSet,
    #[serde(rename = "Infinity", skip_serializing_if = "StepSet::is_empty")]
    infinity: StepSet,
    #[serde(rename = "-Infinity", skip_serializing_if = "StepSet::is_empty")]
    negative_infinity: StepSet,
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Ranges of steps that are not told.
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl NonFinite {
    /// Of the metric of this name, which MLflow knows as `key`.
    pub fn of(name: &str, key: &str) -> Self {
        let is_told = name != key && name.chars().count() <= NAME_CHARS;
        Self { name: is_told.then(|| name.to_owned()), ..Self::default() }
    }

    /// What a tag says; `None` when it is not one of ours.
    pub fn read(tag: &str) -> Option<Self> {
        serde_json::from_str(tag).ok()
    }

    /// Notes a value at a step.
    pub fn note(&mut self, step: i64, value: f64) {
        let steps = if value.is_nan() {
            &mut self.nan
        } else if value > 0.0 {
            &mut self.infinity
        } else {
            &mut self.negative_infinity
        };
        steps.insert(step);
    }

    /// Notes the final value.
    pub fn finish(&mut self, value: f64) {
        self.end = Some(text(value).to_owned());
    }

    /// The tag.
    pub fn tag(&self) -> String {
        let mut told = self.clone();
        for steps in [&mut told.nan, &mut told.infinity, &mut told.negative_infinity] {
            told.more += steps.keep_first(MAX_RANGES);
        }
        serde_json::to_string(&told).expect("texts and numbers are plain data")
    }
}

fn text(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_told_and_read_back() {
        let mut ours = NonFinite::of("loss %", "loss _-abc");
        for step in [3, 4, 9] {
            ours.note(step, f64::NAN);
        }
        ours.note(5, f64::INFINITY);
        ours.finish(f64::NEG_INFINITY);
        let told = r#"{"NaN":[[3,4],[9,9]],"Infinity":[[5,5]],"final":"-Infinity","name":"loss %"}"#;
        assert_eq!(ours.tag(), told);
        assert_eq!(NonFinite::read(told), Some(ours));
        assert_eq!(NonFinite::read("NaN at step 3"), None);
    }

    #[test]
    fn a_tag_stays_within_the_limit_and_says_what_it_leaves_out() {
        let mut ours = NonFinite::of(&"é".repeat(NAME_CHARS), "k");
        for step in (i64::MIN..).step_by(2).take(100) {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                ours.note(step, value);
            }
        }
        let tag = ours.tag();
        assert!(
            tag.chars().count() <= crate::projection::writes::TAG_CHARS && tag.contains("\"more\":210"),
            "{tag}"
        );
    }
}

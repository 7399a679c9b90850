//! What a check finds.

use schemas::{RunId, TrialId};
use serde::Serialize;
use service_kit::output::Row;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// MLflow has no run for it.
    MissingRun,
    /// Somebody deleted it; it can be restored.
    DeletedRun,
    /// Its whole experiment was deleted; told once for all runs in it, with the first of them.
    DeletedExperiment,
    /// Somebody has copied it into another experiment.
    Copy,
    /// MLflow has more than one run for it.
    Duplicate,
    /// It ended in another way.
    WrongStatus,
    /// It ended at another time.
    WrongEnd,
    /// A metric, or points of one, are not there, or have other values.
    MissingMetric,
    /// A metric, or points of one, nobody reported.
    SurplusMetric,
    /// A tag is missing, says something else, or should be gone.
    WrongTag,
    /// A parameter is missing or has another value.
    WrongParam,
    /// It is over, and MLflow shows it RUNNING.
    LeftoverRunning,
    /// MLflow has a run of ours the stream knows nothing of.
    Orphan,
    /// The sink cannot write it: MLflow does not take it, and does not refuse it for good either.
    Stuck,
}

impl Kind {
    /// True for what `--repair` is for; the rest is left to people.
    pub fn is_mended(self) -> bool {
        !matches!(self, Self::Orphan | Self::Stuck | Self::DeletedExperiment | Self::Copy)
    }

    /// The name on the outside.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingRun => "missing_run",
            Self::DeletedRun => "deleted_run",
            Self::DeletedExperiment => "deleted_experiment",
            Self::Copy => "copy",
            Self::Duplicate => "duplicate",
            Self::WrongStatus => "wrong_status",
            Self::WrongEnd => "wrong_end",
            Self::MissingMetric => "missing_metric",
            Self::SurplusMetric => "surplus_metric",
            Self::WrongTag => "wrong_tag",
            Self::WrongParam => "wrong_param",
            Self::LeftoverRunning => "leftover_running",
            Self::Orphan => "orphan",
            Self::Stuck => "stuck",
        }
    }
}

/// One thing that is not as the stream says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The run.
    pub run: RunId,
    /// The trial; none when it is about the run itself.
    pub trial: Option<TrialId>,
    /// What is wrong.
    pub kind: Kind,
    /// In words.
    pub detail: String,
    /// It was found no more after the repair.
    pub repaired: bool,
}

impl Row for Finding {
    fn headings() -> &'static [&'static str] {
        &["run", "trial", "kind", "repaired", "detail"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.run.to_string(),
            self.trial.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            self.kind.as_str().to_owned(),
            if self.repaired { "yes" } else { "no" }.to_owned(),
            self.detail.clone(),
        ]
    }
}

/// What was found before a repair, each with whether it is found still, and what is found only after it.
pub fn after_repair(before: Vec<Finding>, after: Vec<Finding>) -> Vec<Finding> {
    let is_same = |a: &Finding, b: &Finding| (&a.run, &a.trial, a.kind) == (&b.run, &b.trial, b.kind);
    let mut all: Vec<Finding> = before
        .into_iter()
        .map(|found| Finding { repaired: !after.iter().any(|left| is_same(left, &found)), ..found })
        .collect();
    for left in after {
        if !all.iter().any(|found| is_same(found, &left)) {
            all.push(left);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: Kind) -> Finding {
        Finding { run: RunId::parse("r").unwrap(), trial: None, kind, detail: String::new(), repaired: false }
    }

    #[test]
    fn what_is_found_no_more_is_repaired_and_what_is_new_is_told() {
        let before = vec![finding(Kind::MissingRun), finding(Kind::WrongTag)];
        let after = vec![finding(Kind::WrongTag), finding(Kind::WrongParam)];
        let told: Vec<(Kind, bool)> =
            after_repair(before, after).iter().map(|found| (found.kind, found.repaired)).collect();
        assert_eq!(told, [(Kind::MissingRun, true), (Kind::WrongTag, false), (Kind::WrongParam, false)]);
    }
}

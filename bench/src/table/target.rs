//! What was promised, and what the figures say about it.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Figure;

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// Nothing; the row is for comparison.
    None,
    /// The ratio is at most this.
    RatioAtMost(f64),
    /// The ratio is at least this.
    RatioAtLeast(f64),
    /// Our own figure is below this one.
    OursBelow(Figure),
    /// Our own figure is at most this one.
    OursAtMost(Figure),
    /// Our own figure is at least this one.
    OursAtLeast(Figure),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::RatioAtMost(most) => write!(f, "<= {most} x"),
            Self::RatioAtLeast(least) => write!(f, ">= {least} x"),
            Self::OursBelow(limit) => write!(f, "< {limit}"),
            Self::OursAtMost(most) => write!(f, "<= {most}"),
            Self::OursAtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::RatioAtMost(_)
            | Self::RatioAtLeast(_)
            | Self::OursBelow(_)
            | Self::OursAtMost(_)
            | Self::OursAtLeast(_) => serializer.collect_str(self),
        }
    }
}

/// What a row says about its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The target is met.
    Met,
    /// The target is missed.
    Missed,
    /// There is no target.
    Shown,
    /// The peer or the figure is missing.
    NotMeasured,
}

impl Verdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::Shown => "",
            Self::NotMeasured => "NOT MEASURED",
        }
    }
}

pub(super) fn judge(ours: Option<Figure>, ratio: Option<f64>, target: Target) -> Verdict {
    let is_met = match target {
        Target::None => return Verdict::Shown,
        Target::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
        Target::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
        Target::OursBelow(limit) => ours.map(|ours| ours.in_base() < limit.in_base()),
        Target::OursAtMost(most) => ours.map(|ours| ours.in_base() <= most.in_base()),
        Target::OursAtLeast(least) => ours.map(|ours| ours.in_base() >= least.in_base()),
    };
    match is_met {
        Some(true) => Verdict::Met,
        Some(false) => Verdict::Missed,
        None => Verdict::NotMeasured,
    }
}

//! What was found, as the rows of one table. Pure: a verdict follows from the figures.

mod figure;
mod target;

use serde::Serialize;
use service_kit::output::Row;

pub(crate) use figure::{Figure, Unit};
pub(crate) use target::{Target, Verdict};

use figure::three_digits;
use target::judge;

/// What ours is compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Peer {
    name: String,
    figure: Option<Figure>,
}

impl Peer {
    /// A peer that was measured.
    pub(crate) fn new(name: impl Into<String>, figure: Figure) -> Self {
        Self { name: name.into(), figure: Some(figure) }
    }
}

/// What is divided by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ratio {
    /// Ours by the peer's: how many times as much.
    OursByPeer,
    /// The peer's by ours: how many times as fast, for durations.
    PeerByOurs,
}

/// One row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    name: String,
    ours: Option<Figure>,
    peer: Option<Peer>,
    ratio: Option<f64>,
    target: Target,
    verdict: Verdict,
    /// What one has to know to read the figures; for a row without figures, why there are none and how to get them.
    remark: Option<String>,
}

impl Finding {
    /// Our figure beside a peer's.
    pub(crate) fn beside(
        name: impl Into<String>,
        ours: Figure,
        peer: Peer,
        ratio: Ratio,
        target: Target,
    ) -> Self {
        let ratio = peer.figure.map(|theirs| match ratio {
            Ratio::OursByPeer => ours.in_base() / theirs.in_base(),
            Ratio::PeerByOurs => theirs.in_base() / ours.in_base(),
        });
        let verdict = judge(Some(ours), ratio, target);
        Self { name: name.into(), ours: Some(ours), peer: Some(peer), ratio, target, verdict, remark: None }
    }

    /// Our figure alone.
    pub(crate) fn alone(name: impl Into<String>, ours: Figure, target: Target) -> Self {
        let verdict = judge(Some(ours), None, target);
        Self { name: name.into(), ours: Some(ours), peer: None, ratio: None, target, verdict, remark: None }
    }

    /// A figure of ours that could not be measured, because of `reason`.
    pub(crate) fn missing(name: impl Into<String>, target: Target, reason: impl Into<String>) -> Self {
        let (name, remark) = (name.into(), Some(reason.into()));
        Self { name, ours: None, peer: None, ratio: None, target, verdict: Verdict::NotMeasured, remark }
    }

    /// Our figure beside a peer that could not be measured, because of `reason`.
    pub(crate) fn without_peer(
        name: impl Into<String>,
        ours: Figure,
        peer: impl Into<String>,
        target: Target,
        reason: impl Into<String>,
    ) -> Self {
        let peer = Some(Peer { name: peer.into(), figure: None });
        let remark = Some(reason.into());
        let verdict = Verdict::NotMeasured;
        Self { name: name.into(), ours: Some(ours), peer, ratio: None, target, verdict, remark }
    }

    /// Our median beside our own slowest hundredth.
    pub(crate) fn spread(name: impl Into<String>, p50: Figure, p99: Figure) -> Self {
        Self { peer: Some(Peer::new("p99", p99)), ..Self::alone(name, p50, Target::None) }
    }

    /// Our median beside our own mean, which knows the slow ones too; the target is held against the median.
    pub(crate) fn typical(name: impl Into<String>, p50: Figure, mean: Figure, target: Target) -> Self {
        Self { peer: Some(Peer::new("mean", mean)), ..Self::alone(name, p50, target) }
    }

    /// Adds what one has to know to read the figures.
    #[must_use]
    pub(crate) fn with_remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    /// What was measured.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the row says about its target.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What one has to know to read it.
    pub(crate) fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }
}

impl Row for Finding {
    fn headings() -> &'static [&'static str] {
        &["name", "ours", "peer", "ratio", "target", "verdict"]
    }

    fn cells(&self) -> Vec<String> {
        let peer = self.peer.as_ref().map(|peer| match peer.figure {
            Some(figure) => format!("{figure} ({})", peer.name),
            None => format!("? ({})", peer.name),
        });
        vec![
            self.name.clone(),
            self.ours.map(|ours| ours.to_string()).unwrap_or_default(),
            peer.unwrap_or_default(),
            self.ratio.map(|ratio| format!("{} x", three_digits(ratio))).unwrap_or_default(),
            self.target.to_string(),
            self.verdict.as_str().to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(value: f64) -> Figure {
        Figure::new(value, Unit::Microseconds)
    }

    #[test]
    fn a_ratio_is_judged_across_units() {
        let peer = Peer::new("a process per call", Figure::new(0.9, Unit::Seconds));
        let finding =
            Finding::beside("call", micros(100.0), peer, Ratio::PeerByOurs, Target::RatioAtLeast(1000.0));
        assert_eq!(finding.verdict(), Verdict::Met);
        assert_eq!(
            finding.cells(),
            ["call", "100 us", "0.90 s (a process per call)", "9000 x", ">= 1000 x", "met"]
        );
    }

    #[test]
    fn a_target_that_is_just_missed_is_missed() {
        let at = |ours: f64| {
            let peer = Peer::new("bare", micros(100.0));
            Finding::beside("x", micros(ours), peer, Ratio::OursByPeer, Target::RatioAtMost(1.5)).verdict()
        };
        assert_eq!((at(150.0), at(150.1)), (Verdict::Met, Verdict::Missed));
        let below = Target::OursBelow(Figure::new(40.0, Unit::Megabytes));
        assert_eq!(Finding::alone("m", Figure::new(40.0, Unit::Megabytes), below).verdict(), Verdict::Missed);
    }

    #[test]
    fn a_single_broken_promise_misses_its_target() {
        let none = Target::OursAtMost(Figure::new(0.0, Unit::Broken));
        let row = |broken: f64| Finding::alone("kills", Figure::new(broken, Unit::Broken), none);
        assert_eq!(row(0.0).cells(), ["kills", "0 broken", "", "", "<= 0 broken", "met"]);
        assert_eq!(row(1.0).verdict(), Verdict::Missed);
        assert_eq!(Finding::missing("kills", none, "no disk").verdict(), Verdict::NotMeasured);
    }

    #[test]
    fn a_peer_that_is_missing_leaves_a_row_that_says_so() {
        let target = Target::RatioAtLeast(3.0);
        let finding =
            Finding::without_peer("runs", Figure::new(900.0, Unit::PerSecond), "Celery", target, "no Redis");
        assert_eq!(finding.verdict(), Verdict::NotMeasured);
        assert_eq!(finding.cells(), ["runs", "900/s", "? (Celery)", "", ">= 3 x", "NOT MEASURED"]);
    }

    #[test]
    fn json_has_numbers_and_no_decoration() {
        let finding = Finding::alone("m", micros(12.5), Target::None);
        let json = serde_json::to_value(finding).unwrap();
        let expected = serde_json::json!({
            "name": "m", "ours": {"value": 12.5, "unit": "microseconds"}, "peer": null, "ratio": null,
            "target": null, "verdict": "shown", "remark": null,
        });
        assert_eq!(json, expected);
    }
}

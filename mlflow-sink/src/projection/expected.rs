//! What MLflow should have, folded from the events alone.
//!
//! The events of a run in, in the order of the stream, one by one; what its MLflow runs look like out. What an event
//! becomes and whether it still counts is decided where the writer decides it (the modules beside this one, and the
//! records of the [`crate::ledger`]); here it is only put together.
//!
//! Invariants:
//! - an event that comes twice, in order, changes nothing;
//! - of an event MLflow refused (a dead letter of stage sink) nothing is expected but the end it tells; the MLflow run it
//!   speaks of is torn until MLflow takes it, and only its status is compared;
//! - of a run that is over 56 bytes a metric and 16 a tag or parameter are kept (2.3 kB for a trial of twelve metrics), of
//!   one that goes on a few hundred bytes a metric more: the steps it has.
//!
//! Deliberately not here: what does not follow from the events (ids, times of creation, notes, files), and where values
//! that came after the final one of their trial stand: that depends on how they came.

mod image;
mod run;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::BTreeMap;

use schemas::{Event, RunId, TrialId};

pub use image::{Facts, Image, Name, Names, Tally};

use super::left::Over;
use super::steps::Steps;
use super::{Closing, Point, RunStatus, Seen, Writes};
use crate::ledger::record::{Child, Parent};

/// What MLflow should have of every run that was seen.
#[derive(Debug, Default)]
pub struct Expected {
    /// The names they use.
    pub names: Names,
    /// By run.
    pub runs: BTreeMap<RunId, Run>,
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// The parent run.
    pub image: Image,
    /// The nested ones.
    pub trials: BTreeMap<TrialId, Trial>,
    /// Sequence of the first event.
    pub first: u64,
    /// Sequence of the last event.
    pub last: u64,
    /// The first event is the start of the run.
    pub begins: bool,
    /// Every event of it was refused: there may be none at all.
    pub is_refused: bool,
    known: Parent,
    over: Option<Over>,
    /// The curves depend on how the events came.
    is_curve_loose: bool,
}

/// A trial.
#[derive(Debug)]
pub struct Trial {
    /// The nested run.
    pub image: Image,
    /// Every event of it was refused: there may be none at all.
    pub is_refused: bool,
    known: Child,
    /// The steps of its metrics are not remembered any more.
    is_frozen: bool,
}

impl Expected {
    /// Takes the next event. `is_refused`: it is a dead letter, because MLflow did not take it.
    pub fn see(&mut self, seen: &Seen, is_refused: bool) {
        let Some(run) = seen.run() else { return };
        let names = &mut self.names;
        if !self.runs.contains_key(run) {
            self.runs.insert(run.clone(), Run::new(names, run, seen));
        }
        let Some(known) = self.runs.get_mut(run) else { return };
        known.last = seen.sequence;
        known.is_refused &= is_refused;
        match &seen.event {
            Event::MlRunStarted(started) => known.start(names, started, seen, is_refused),
            Event::TrialReported(report) => {
                known.report(names, run, report, seen, is_refused);
                known.draw(names, report, seen, is_refused);
            }
            Event::MetricReported(metric) => known.value(names, run, metric, seen, is_refused),
            Event::RunCompleted(_)
            | Event::RunFailed(_)
            | Event::RunCancelled(_)
            | Event::MlRunFinalized(_)
            | Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::RunStarted(_)
            | Event::RunInterrupted(_)
            | Event::RunException(_) => known.end(names, seen, is_refused),
        }
    }

    /// The registry says that a run is over that never said so itself.
    pub fn end_by_registry(&mut self, run: &RunId, writes: &Writes, over: Over) {
        let Some(known) = self.runs.get_mut(run) else { return };
        if known.image.status != RunStatus::Running {
            return;
        }
        known.image.write(&mut self.names, writes);
        known.image.close(&Closing { status: over.status, end_time: over.end_time, name: None });
        known.over = Some(over);
    }

    /// Nothing more comes: what a run that is over has left behind is closed with it.
    pub fn finish(&mut self) {
        for run in self.runs.values_mut() {
            if run.image.status != RunStatus::Running {
                run.close_leftovers(&mut self.names);
            }
        }
    }
}

/// The final values, each behind the last one of its metric.
fn last_values(steps: &mut Steps, finals: BTreeMap<String, f64>, at: i64) -> Vec<Point> {
    finals.into_iter().filter_map(|(key, value)| steps.finish(key, value, at)).collect()
}

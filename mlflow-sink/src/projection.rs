//! What events become in MLflow: decided here, without a clock, without a connection.
//!
//! A run is a parent run, a trial a nested run under it. Everything that is written follows from the events alone
//! (ids, steps, times), so that writing an event twice writes the same bytes twice.
//!
//! Policies:
//! - times come from the event; where a record carries none, from its envelope, and never from now;
//! - NaN and the infinities are no values of a metric: MLflow's stores turn them into 0 and 1.8e308. They become the
//!   tag `cerebros.nonfinite.<metric>` with their steps;
//! - a name MLflow would refuse is changed to a legal one, and the tag `cerebros.name.<legal>` keeps the original;
//! - a value over MLflow's limits is cut and says so, and the tag `cerebros.cut.<kind>.<name>` leads to the whole;
//! - both are kept as they were in a file of the run, `cerebros/originals.json`;
//! - what is asked for again after its end, a run or a trial of it, goes on in the MLflow run it has: RUNNING again, without
//!   the tags of the end it had. The values of the earlier course stay, because MLflow forgets none; the final ones of the
//!   later stand behind them.
//!
//! Deliberately not here: what MLflow already has. The ledger and the server's own history decide what is left to
//! write.

pub mod curve;
pub mod dataset;
pub mod expected;
pub mod flatten;
pub mod left;
pub mod logged_model;
pub mod mapping;
pub mod model;
pub mod names;
pub mod nonfinite;
pub mod note;
pub mod originals;
pub mod parent;
pub mod split;
pub mod steps;
pub mod trial;
pub mod writes;

use schemas::{Event, RunId, Timestamp};

pub use writes::{Birth, Closing, Point, RunStatus, Writes};

/// An event and when it happened.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The event.
    pub event: Event,
    /// Time of the envelope, else when the stream took the message in.
    pub at: Timestamp,
    /// Schema it was written with, as its headers name it.
    pub schema: Option<String>,
    /// Attempt it speaks for, as its headers say.
    pub attempt: Option<u32>,
    /// Where it stands in the stream.
    pub sequence: u64,
}

impl Seen {
    /// The run this event is projected into; `None` for what has no place in MLflow.
    pub fn run(&self) -> Option<&RunId> {
        match &self.event {
            Event::MlRunStarted(event) => Some(&event.run_id),
            Event::MlRunFinalized(event) => Some(&event.run_id),
            Event::TrialReported(event) => Some(&event.run_id),
            Event::MetricReported(event) => Some(&event.run_id),
            Event::RunCompleted(event) => Some(&event.run_id),
            Event::RunFailed(event) => Some(&event.run_id),
            Event::RunCancelled(event) => Some(&event.run_id),
            // A failed attempt of a call is told by its trial; an interrupted run stays RUNNING, because it goes on.
            Event::RunRequested(_)
            | Event::RunCancelRequested(_)
            | Event::RunStarted(_)
            | Event::RunInterrupted(_)
            | Event::RunException(_) => None,
        }
    }
}

/// A point in time as MLflow takes it: milliseconds since 1970, not negative.
pub fn millis(at: Timestamp) -> i64 {
    at.millis().max(0)
}

//! What a conversation about an opaque run is about: one call of the function, and the trials it tells of.

use std::collections::BTreeSet;
use std::path::Path;

use schemas::event::{MetricReported, TrialStatus};
use schemas::{Event, Timestamp};
use search::Verdict;
use serde_json::{Map, Value};
use service_kit::clock;

use super::arguments::arguments;
use super::conduct::Admission;
use super::sayable::check_event;
use super::trials::{Frame, event_of, number_of};
use super::{OpaqueRun, id_of};
use crate::child::Lost;
use crate::child::protocol::{Call, DatasetFile, FromChild, TrialContext};
use crate::conversation::{Cut, Heard, MOST_KEPT, Topic};
use crate::run::Attempt;
use crate::script::{RUN_NAS, operation};
use crate::supervisor::Stop;
use crate::trial::check_count;

/// Words of trials that are kept while others are on their way: a trial may be as large as an event.
const MOST_BYTES: usize = 4 << 20;

/// One call of the function.
pub(super) struct SearchCall<'a> {
    attempt: &'a Attempt,
    run: &'a OpaqueRun,
    workdir: &'a Path,
    /// Called after every trial, with the order to stop if there is one.
    told: &'a (dyn Fn(Option<Stop>) + Sync),
    /// When the last trial was told.
    since: Timestamp,
    /// Events that are yet to be published, and about how large they are.
    kept: Vec<Event>,
    kept_bytes: usize,
    /// Numbers of the trials among them, and among those that are on their way: they count only when they are durable.
    uncounted: BTreeSet<u32>,
}

impl<'a> SearchCall<'a> {
    pub(super) fn new(
        attempt: &'a Attempt,
        run: &'a OpaqueRun,
        workdir: &'a Path,
        told: &'a (dyn Fn(Option<Stop>) + Sync),
    ) -> Self {
        Self {
            attempt,
            run,
            workdir,
            told,
            since: clock::now(),
            kept: Vec::new(),
            kept_bytes: 0,
            uncounted: BTreeSet::new(),
        }
    }

    /// A trial becomes an event, unless it is known or too much.
    fn trial(&mut self, fields: Map<String, Value>, bytes: Option<usize>, call: u64) -> Result<Heard, Cut> {
        let asked = number_of(&fields).map_err(Cut::Senseless)?;
        if self.has_to_count_first(asked) {
            return Ok(Heard::TooEarly(FromChild::Trial { id: call, trial: fields, bytes }));
        }
        let now = clock::now();
        let since = std::mem::replace(&mut self.since, now);
        let none = Value::Object(Map::new());
        let parameters = fields.get("parameters").filter(|given| !given.is_null()).unwrap_or(&none);
        let admission = self.run.conduct().admit(asked, parameters);
        let number = match admission {
            Admission::New(number) => number,
            Admission::Known { number, is_same } => {
                self.note_known(number, is_same);
                return Ok(Heard::EndOfPart);
            }
            Admission::Beyond => {
                // Not within the next line: whoever is told looks at the conduct himself.
                let order = self.run.conduct().order();
                (self.told)(order);
                return Ok(Heard::Word);
            }
        };
        let frame = Frame {
            run: &self.attempt.plan.run_id,
            attempt: self.attempt.record.attempt,
            worker_id: &self.attempt.worker.id,
            pulse_id: self.attempt.plan.request.pulse_id.as_deref(),
            since,
            now,
        };
        let trial = event_of(fields, id_of(self.attempt, number), number, &frame).map_err(Cut::Senseless)?;
        let may_end_the_run = trial.status == TrialStatus::Failed;
        let event = Event::from(trial);
        check_event(&event, bytes).map_err(|reason| Cut::Senseless(format!("report_trial: {reason}")))?;
        self.kept.push(event);
        self.kept_bytes += bytes.unwrap_or_default();
        self.uncounted.insert(number);
        Ok(if may_end_the_run { Heard::WeightyEndOfPart } else { Heard::EndOfPart })
    }

    /// Whether what becomes of a trial depends on those that are told and not counted yet.
    fn has_to_count_first(&self, asked: Option<u32>) -> bool {
        if self.uncounted.is_empty() {
            return false;
        }
        let conduct = self.run.conduct();
        let number = asked.unwrap_or_else(|| conduct.next_number());
        self.uncounted.contains(&number) || !conduct.has_room_for(self.uncounted.len() + 1)
    }

    fn note_known(&self, number: u32, is_same: bool) {
        if !is_same {
            let remark = format!(
                "trial {number} was told again with other parameters; the first stands (give `number` to tell another)"
            );
            self.attempt.remarks.note(Some(&remark));
        }
    }

    /// Values on the way of a trial.
    fn report(&mut self, values: Vec<(String, schemas::Real)>, step: i64, number: u32) -> Result<Heard, Cut> {
        check_count(values.len())?;
        if self.uncounted.contains(&number) || self.run.conduct().is_known(number) {
            return Ok(Heard::Word);
        }
        let recorded_at = clock::now();
        let event = |(name, value)| -> Event {
            MetricReported {
                run_id: self.attempt.plan.run_id.clone(),
                trial_id: id_of(self.attempt, number),
                name,
                value,
                step,
                recorded_at,
                attempt: Some(self.attempt.record.attempt),
            }
            .into()
        };
        let events: Vec<Event> = values.into_iter().map(event).collect();
        events.iter().try_for_each(Event::validate).map_err(Cut::Unsayable)?;
        self.kept.extend(events);
        Ok(Heard::Word)
    }
}

impl Topic for SearchCall<'_> {
    fn entry(&self) -> &str {
        &self.run.entry
    }

    fn call(&self, id: u64) -> Call {
        let (plan, attempt) = (&self.attempt.plan, self.attempt.record.attempt);
        let has_script = self.attempt.worker.invoker.has_script();
        let op = if has_script { operation(&self.run.entry) } else { RUN_NAS };
        Call {
            id,
            op: op.to_owned().into(),
            entry: self.run.entry.clone(),
            params: Value::Null,
            trial: TrialContext {
                run_id: plan.run_id.to_string(),
                correlation_id: plan.correlation_id(),
                trial_id: String::new(),
                number: 0,
                attempt,
                seed: u32::try_from(plan.seed % (1 << 32)).expect("it was just made to fit"),
                objective: plan.request.objective.clone(),
                direction: plan.direction.as_str(),
                dataset_id: plan.request.dataset_id.clone(),
                dataset: plan.dataset.as_ref().map(DatasetFile::from),
                workdir: self.workdir.to_owned(),
                budget: serde_json::to_value(&plan.request.budget).expect("a budget is plain data"),
            },
            search: Some(arguments(plan, attempt, &self.run.known(), clock::now())),
        }
    }

    fn hear(&mut self, message: FromChild, call: u64) -> Result<Heard, Cut> {
        match message {
            FromChild::Heartbeat => Ok(Heard::Word),
            FromChild::Trial { id, trial, bytes } if id == call => self.trial(trial, bytes, call),
            FromChild::Report { id, metrics, step, number } if id == call => {
                let number = number.unwrap_or_else(|| self.run.conduct().next_number());
                self.report(metrics.into_iter().collect(), step, number)
            }
            FromChild::Result(result) if result.id == call => Ok(Heard::Result(result)),
            FromChild::Fatal { failure } => Err(Cut::Lost(Lost::Broken(failure.message))),
            other @ (FromChild::Hello { .. }
            | FromChild::Ready { .. }
            | FromChild::Report { .. }
            | FromChild::Artifact { .. }
            | FromChild::Result(_)
            | FromChild::Trial { .. }) => {
                Err(Cut::Lost(Lost::Broken(format!("it spoke out of turn: {other:?}"))))
            }
        }
    }

    fn kept(&self) -> usize {
        self.kept.len()
    }

    fn is_full(&self) -> bool {
        self.kept.len() >= MOST_KEPT || self.kept_bytes >= MOST_BYTES
    }

    fn take(&mut self) -> Vec<Event> {
        self.kept_bytes = 0;
        std::mem::take(&mut self.kept)
    }

    fn told(&mut self, events: Vec<Event>) -> Verdict {
        let mut order = None;
        let mut has_counted = false;
        for event in events {
            let Event::TrialReported(trial) = event else { continue };
            let Some(number) = trial.number else { continue };
            order = self.run.conduct().count(number, &trial);
            self.uncounted.remove(&number);
            self.run.known().push(trial);
            has_counted = true;
        }
        if has_counted {
            (self.told)(order);
        }
        Verdict::GoOn
    }
}

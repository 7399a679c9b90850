//! What a conversation about one trial is about: training one candidate, its reports, its files.

use std::collections::BTreeMap;
use std::path::Path;

use schemas::event::{MetricReported, TrialStatus};
use schemas::{Event, Failure, FailureClass, Real, TrialId};
use search::Verdict;
use service_kit::clock;

use super::Trial;
use crate::artifacts::{Announced, MAX_FILES};
use crate::cache::entry::{MAX_ENTRY_BYTES, MAX_REPORTS, Report};
use crate::child::Lost;
use crate::child::protocol::{Call, CallResult, DatasetFile, FromChild, TrialContext};
use crate::conversation::{Cut, Heard, Topic};

/// Values of one report at most; each becomes an event.
pub(crate) const MAX_METRICS: usize = 1000;

/// What a trial has said on its way.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Files it announced.
    pub(super) files: Vec<Announced>,
    /// What it reported, for the result cache to say it again; nothing when that would be too much to keep.
    pub(super) reports: Vec<Report>,
    report_bytes: usize,
    report_count: usize,
}

impl Told {
    /// Notes a report, as long as there are not too many.
    fn note(&mut self, step: i64, metrics: &BTreeMap<String, Real>) {
        self.report_count += 1;
        self.report_bytes += metrics.keys().map(|name| name.len() + size_of::<Real>()).sum::<usize>();
        if self.has_all_reports() {
            self.reports.push(Report { step, metrics: metrics.clone() });
        } else {
            self.reports = Vec::new();
        }
    }

    /// True unless there was too much to keep.
    pub(super) fn has_all_reports(&self) -> bool {
        self.report_count <= MAX_REPORTS && self.report_bytes <= MAX_ENTRY_BYTES
    }
}

/// One trial and what was said about it so far.
pub(super) struct Training<'a> {
    trial: &'a Trial,
    id: &'a TrialId,
    workdir: &'a Path,
    /// What it has said.
    pub(super) told: Told,
    /// Reports that are yet to be published.
    kept: Vec<Event>,
    /// The step and the objective that are judged when what is kept, or what was taken, is durable.
    to_judge: Option<(i64, Real)>,
    judged_next: Option<(i64, Real)>,
    /// The objective at the report that was its last, when the search stops the trial.
    pruned_at: Option<Real>,
}

impl<'a> Training<'a> {
    pub(super) fn new(trial: &'a Trial, id: &'a TrialId, workdir: &'a Path) -> Self {
        Self {
            trial,
            id,
            workdir,
            told: Told::default(),
            kept: Vec::new(),
            to_judge: None,
            judged_next: None,
            pruned_at: None,
        }
    }

    /// A trial that was to be stopped is pruned, whether it heard of it in time, came to its end before or, because it
    /// reported no more, was ended by something else: the same search prunes the same trials.
    pub(super) fn unless_pruned(&self, result: Result<CallResult, Failure>) -> Result<CallResult, Failure> {
        let Some(objective) = self.pruned_at else { return result };
        let result = match result {
            Ok(result) => result,
            Err(failure) if failure.class == FailureClass::Cancelled => return Err(failure),
            Err(failure) => {
                let why = &failure.message;
                let warnings = vec![format!("it was stopped before it heard that it was pruned: {why}")];
                CallResult { warnings, ..CallResult::new(0, TrialStatus::Pruned) }
            }
        };
        let metrics = [(self.trial.plan.request.objective.clone(), objective)].into();
        Ok(CallResult { status: TrialStatus::Pruned, metrics, failure: None, ..result })
    }

    /// Notes a report for the result cache.
    fn note(&mut self, step: i64, metrics: &BTreeMap<String, Real>) {
        if self.trial.may_be_cached() {
            self.told.note(step, metrics);
        }
    }

    /// Whether the trial is worth going on with, now that this is durable.
    fn judge(&mut self, step: i64, objective: Real) -> Verdict {
        let number = self.trial.proposal.number;
        let mut pruning = self.trial.pruning.lock().expect("nobody panics while holding the reports");
        if !pruning.is_active() {
            return Verdict::GoOn;
        }
        pruning.record(number, step, objective.0);
        let verdict = pruning.verdict(number, step);
        if verdict == Verdict::Prune {
            self.pruned_at = Some(objective);
        }
        verdict
    }

    /// Takes the values of one report.
    fn report(&mut self, metrics: BTreeMap<String, Real>, step: i64) -> Result<Heard, Cut> {
        check_count(metrics.len())?;
        let objective = metrics.get(&self.trial.plan.request.objective).copied();
        self.note(step, &metrics);
        let recorded_at = clock::now();
        let event = |(name, value)| -> Event {
            MetricReported {
                run_id: self.trial.plan.run_id.clone(),
                trial_id: self.id.clone(),
                name,
                value,
                step,
                recorded_at,
                attempt: Some(self.trial.attempt),
            }
            .into()
        };
        let events: Vec<Event> = metrics.into_iter().map(event).collect();
        events.iter().try_for_each(Event::validate).map_err(Cut::Unsayable)?;
        self.kept.extend(events);
        match objective {
            Some(objective) if self.trial.plan.prunes() => {
                self.to_judge = Some((step, objective));
                // What decides about others has to be durable first.
                Ok(Heard::Weighty)
            }
            Some(_) | None => Ok(Heard::Word),
        }
    }
}

impl Topic for Training<'_> {
    fn entry(&self) -> &str {
        &self.trial.plan.request.trainer
    }

    fn call(&self, id: u64) -> Call {
        let plan = &self.trial.plan;
        let proposal = &self.trial.proposal;
        Call {
            id,
            op: "train".into(),
            entry: plan.request.trainer.clone(),
            params: proposal.candidate.parameters.clone().into(),
            trial: TrialContext {
                run_id: plan.run_id.to_string(),
                correlation_id: plan.correlation_id(),
                trial_id: self.id.to_string(),
                number: proposal.number,
                attempt: self.trial.attempt,
                seed: proposal.seed,
                objective: plan.request.objective.clone(),
                direction: plan.direction.as_str(),
                dataset_id: plan.request.dataset_id.clone(),
                dataset: plan.dataset.as_ref().map(DatasetFile::from),
                workdir: self.workdir.to_owned(),
                budget: serde_json::to_value(&plan.request.budget).expect("a budget is plain data"),
            },
            search: None,
        }
    }

    fn hear(&mut self, message: FromChild, call: u64) -> Result<Heard, Cut> {
        match message {
            FromChild::Heartbeat => Ok(Heard::Word),
            // What it reports before it hears that it is pruned is no part of its course.
            FromChild::Report { id, .. } if id == call && self.pruned_at.is_some() => Ok(Heard::Word),
            FromChild::Report { id, metrics, step, .. } if id == call => self.report(metrics, step),
            FromChild::Artifact { id, name, path, sha256, media_type, .. } if id == call => {
                self.told.files.retain(|file| file.name != name);
                if self.told.files.len() < MAX_FILES {
                    self.told.files.push(Announced { name, path, sha256, media_type });
                }
                Ok(Heard::Word)
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

    fn take(&mut self) -> Vec<Event> {
        self.judged_next = self.to_judge.take();
        std::mem::take(&mut self.kept)
    }

    fn told(&mut self, _: Vec<Event>) -> Verdict {
        self.judged_next.take().map_or(Verdict::GoOn, |(step, objective)| self.judge(step, objective))
    }
}

/// Holds the number of values of one report against what is taken.
pub(crate) fn check_count(count: usize) -> Result<(), Cut> {
    if count > MAX_METRICS {
        let reason = format!("{count} values were reported at once; at most {MAX_METRICS} are taken");
        return Err(Cut::Senseless(reason));
    }
    Ok(())
}

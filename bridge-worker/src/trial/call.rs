//! The conversation with a child about one trial, and how it can end.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use schemas::event::{Invalid, MetricReported, TrialStatus};
use schemas::{Event, Failure, FailureClass, Real, Stage, TrialId};
use search::Verdict;
use service_kit::clock;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Trial, stopped};
use crate::announce::Unsaid;
use crate::artifacts::{Announced, MAX_FILES};
use crate::cache::entry::Report;
use crate::child::protocol::{Call, CallResult, DatasetFile, FromChild, ToChild, TrialContext};
use crate::child::{Child, Lost, StartError};
use crate::slots::Lease;
use crate::supervisor::Stop;

/// How long a child may take to hear that it should stop, before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Values of one report at most; each becomes an event.
const MAX_METRICS: usize = 1000;
/// Tries to start a child before the run is given up, and the pause after the first; it doubles.
const START_TRIES: u32 = 3;
const START_PAUSE: Duration = Duration::from_millis(500);

/// How a conversation ended.
pub(super) enum Outcome {
    /// With a result or a failure.
    Over {
        /// What the child said, or what became of it.
        result: Result<CallResult, Failure>,
        /// Files it announced.
        files: Vec<Announced>,
        /// What it reported on the way.
        reports: Vec<Report>,
    },
    /// Interrupted; the trial is not over.
    Dropped,
    /// No child could be started.
    NoChild(Failure),
    /// An event could not be published.
    Unsaid(Unsaid),
}

/// One call and what was said so far.
pub(super) struct Conversation<'a> {
    pub(super) trial: &'a Trial,
    id: &'a TrialId,
    workdir: &'a Path,
    limit: Duration,
    files: Vec<Announced>,
    /// What the result cache would have to say again.
    pub(super) reports: Vec<Report>,
    /// The objective at the report that was its last, when the search stops the trial.
    pruned_at: Option<Real>,
}

/// What a step of the conversation came to.
enum Step {
    GoOn,
    /// The trial is not worth going on with; it learns so at its next report.
    Prune,
    Result(Box<CallResult>),
}

/// Why a conversation ended before a result.
enum Cut {
    Lost(Lost),
    OutOfTime,
    Stopped(Stop),
    /// The trainer's words make no event.
    Unsayable(Invalid),
    /// It reported so many values at once.
    TooMuch(usize),
    Unsaid(Unsaid),
}

impl<'a> Conversation<'a> {
    pub(super) fn new(trial: &'a Trial, id: &'a TrialId, workdir: &'a Path) -> Self {
        let limit = Duration::try_from_secs_f64(trial.plan.max_trial_seconds).unwrap_or(Duration::MAX);
        Self { trial, id, workdir, limit, files: Vec::new(), reports: Vec::new(), pruned_at: None }
    }

    /// Trains in the leased slot. Afterwards the slot holds a child that is fit for the next trial, or none.
    pub(super) async fn hold(
        mut self,
        lease: &mut Lease,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Outcome {
        let child = match start(lease).await {
            Ok(child) => child,
            Err(failure) => return Outcome::NoChild(failure),
        };
        let ended = self.talk(child, stop).await;
        let is_fit = ended.is_ok() && !child.has_descendants();
        let output = child.output();
        let taken = if is_fit { None } else { lease.take_child() };
        let result = match ended {
            Ok(result) => {
                if let Some(child) = taken {
                    tracing::warn!(trial = %self.id, "the trial left processes behind; its child is replaced");
                    child.kill().await;
                }
                Ok(self.as_pruned(*result))
            }
            Err(cut) => {
                let status = match (taken, &cut) {
                    (Some(child), Cut::Lost(Lost::Ended)) => child.bury().await,
                    (Some(child), _) => child.kill().await,
                    (None, _) => None,
                };
                match self.explain(cut, status) {
                    Ok(failure) => Err(failure.with_output(&output.0, &output.1)),
                    Err(outcome) => return outcome,
                }
            }
        };
        Outcome::Over { result, files: self.files, reports: self.reports }
    }

    async fn talk(
        &mut self,
        child: &mut Child,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Result<Box<CallResult>, Cut> {
        let call = self.call(child.next_call());
        child.clear_output();
        let deadline = Instant::now() + self.limit;
        let pulse = self.trial.vitals.begin(Instant::now());
        child.send(&ToChild::Call(&call)).await.map_err(|_| Cut::Lost(Lost::Ended))?;
        loop {
            let message = tokio::select! {
                biased;
                how = stopped(stop) => return self.wind_down(child, call.id, how).await,
                // Before the messages: a child that says something all the time has no more time than others.
                () = tokio::time::sleep_until(deadline) => return Err(Cut::OutOfTime),
                message = child.receive() => {
                    pulse.pause();
                    message.map_err(Cut::Lost)?
                }
            };
            let step = tokio::select! {
                biased;
                how = stopped(stop) => return self.wind_down(child, call.id, how).await,
                step = self.hear(message, call.id) => step?,
            };
            match step {
                Step::GoOn => pulse.beat(Instant::now()),
                Step::Prune => {
                    pulse.beat(Instant::now());
                    let order = ToChild::Stop { id: call.id, reason: "pruned" };
                    child.send(&order).await.map_err(|_| Cut::Lost(Lost::Ended))?;
                }
                Step::Result(result) => return Ok(result),
            }
        }
    }

    /// Gives a cancelled trial a moment to hear of it. A result that is already on its way still counts.
    async fn wind_down(&mut self, child: &mut Child, call: u64, how: Stop) -> Result<Box<CallResult>, Cut> {
        if how == Stop::Dropped {
            return Err(Cut::Stopped(how));
        }
        let told = child.send(&ToChild::Stop { id: call, reason: "cancelled" }).await;
        let deadline = Instant::now() + STOP_GRACE;
        while told.is_ok() && Instant::now() < deadline {
            let message = tokio::time::timeout_at(deadline, child.receive()).await;
            let Ok(Ok(message)) = message else { break };
            let step = tokio::time::timeout_at(deadline, self.hear(message, call)).await;
            let Ok(step) = step else { break };
            if let Step::Result(result) = step? {
                return Ok(result);
            }
        }
        Err(Cut::Stopped(how))
    }

    async fn hear(&mut self, message: FromChild, call: u64) -> Result<Step, Cut> {
        match message {
            FromChild::Heartbeat => Ok(Step::GoOn),
            // What it reports before it hears that it is pruned is no part of its course.
            FromChild::Report { id, .. } if id == call && self.pruned_at.is_some() => Ok(Step::GoOn),
            FromChild::Report { id, metrics, step } if id == call => {
                if metrics.len() > MAX_METRICS {
                    return Err(Cut::TooMuch(metrics.len()));
                }
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
                self.trial.announcer.say(&events).await.map_err(Cut::Unsaid)?;
                Ok(objective.map_or(Step::GoOn, |objective| self.judge(step, objective)))
            }
            FromChild::Artifact { id, name, path, sha256, media_type, .. } if id == call => {
                self.files.retain(|file| file.name != name);
                if self.files.len() < MAX_FILES {
                    self.files.push(Announced { name, path, sha256, media_type });
                }
                Ok(Step::GoOn)
            }
            FromChild::Result(result) if result.id == call => Ok(Step::Result(result)),
            FromChild::Fatal { failure } => Err(Cut::Lost(Lost::Broken(failure.message))),
            other @ (FromChild::Hello { .. }
            | FromChild::Ready { .. }
            | FromChild::Report { .. }
            | FromChild::Artifact { .. }
            | FromChild::Result(_)
            | FromChild::Trial {}) => {
                Err(Cut::Lost(Lost::Broken(format!("it spoke out of turn: {other:?}"))))
            }
        }
    }

    /// Whether the trial is worth going on with, now that this is durable.
    fn judge(&mut self, step: i64, objective: Real) -> Step {
        let number = self.trial.proposal.number;
        let mut pruning = self.trial.pruning.lock().expect("nobody panics while holding the reports");
        if !pruning.is_active() {
            return Step::GoOn;
        }
        pruning.record(number, step, objective.0);
        match pruning.verdict(number, step) {
            Verdict::GoOn => Step::GoOn,
            Verdict::Prune => {
                self.pruned_at = Some(objective);
                Step::Prune
            }
        }
    }

    /// A trial that was to be stopped is pruned, whether it heard of it in time or came to its end before: the same
    /// search prunes the same trials.
    fn as_pruned(&self, result: CallResult) -> CallResult {
        let Some(objective) = self.pruned_at else { return result };
        let metrics = [(self.trial.plan.request.objective.clone(), objective)].into();
        CallResult { status: TrialStatus::Pruned, metrics, failure: None, ..result }
    }

    fn call(&self, id: u64) -> Call {
        let plan = &self.trial.plan;
        let proposal = &self.trial.proposal;
        Call {
            id,
            op: "train",
            entry: plan.request.trainer.clone(),
            params: proposal.candidate.parameters.clone().into(),
            trial: TrialContext {
                run_id: plan.run_id.to_string(),
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
        }
    }

    /// What a cut means: a failure of the trial, or an outcome that is none.
    fn explain(&self, cut: Cut, status: Option<ExitStatus>) -> Result<Failure, Outcome> {
        let failure = |class, message: String| Failure::new(class, Stage::Execute, message);
        match cut {
            Cut::Unsaid(error) => Err(Outcome::Unsaid(error)),
            Cut::Stopped(Stop::Dropped) => Err(Outcome::Dropped),
            Cut::Stopped(Stop::Cancelled) => {
                Ok(failure(FailureClass::Cancelled, "the run was stopped".to_owned()))
            }
            Cut::OutOfTime => {
                let limit = self.limit.as_secs_f64();
                let message =
                    format!("the trial took longer than {limit} s (budget.max_trial_seconds) and was killed");
                Ok(failure(FailureClass::TimeoutTrial, message))
            }
            Cut::Unsayable(invalid) => {
                let message = format!("the trainer reported what no event can say, {invalid}");
                Ok(failure(FailureClass::UserCode, message))
            }
            Cut::TooMuch(count) => {
                let message =
                    format!("the trainer reported {count} values at once; at most {MAX_METRICS} are taken");
                Ok(failure(FailureClass::UserCode, message))
            }
            Cut::Lost(Lost::Silent) => {
                let message = format!("{}; the process was killed", Lost::Silent);
                Ok(failure(FailureClass::HeartbeatLost, message))
            }
            Cut::Lost(Lost::Broken(reason)) => {
                Ok(failure(FailureClass::ParseError, format!("the child broke the protocol: {reason}")))
            }
            Cut::Lost(Lost::Ended) => Ok(died(status)),
        }
    }
}

/// A process that ended without a result, classified by how it did.
fn died(status: Option<ExitStatus>) -> Failure {
    let code = status.and_then(|status| status.code());
    let signal = status.and_then(|status| status.signal());
    let how = match (code, signal) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}{}", signal_name(signal)),
        (None, None) => "ended".to_owned(),
    };
    let message = format!("the Python process {how} before the trial was over");
    let mut failure = Failure::new(FailureClass::SubprocessExit, Stage::Execute, message);
    failure.exit_code = code;
    failure.signal = signal;
    failure
}

fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or(String::new(), |signal| format!(" ({})", signal.as_str()))
}

async fn start(lease: &mut Lease) -> Result<&mut Child, Failure> {
    let mut pause = START_PAUSE;
    for _ in 1..START_TRIES {
        match lease.child().await {
            // Borrowed again below: the borrow checker does not see that this returns.
            Ok(_) => break,
            Err(error) => tracing::warn!(%error, "child did not start, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    lease.child().await.map_err(|error: StartError| {
        Failure::new(FailureClass::Dependency, Stage::Execute, error.to_string())
    })
}

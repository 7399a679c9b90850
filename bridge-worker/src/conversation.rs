//! The conversation with Python about one call, and how it can end.
//!
//! What the call is about is its [`Topic`]; in which process it is answered is its [`Partner`]. Neither knows of the
//! other: here is what they have in common, the deadline, the limits, the order to stop, and what a lost process means.

mod died;

use std::time::Duration;

use schemas::event::Invalid;
use schemas::{Failure, FailureClass, Stage};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::announce::Unsaid;
use crate::child::protocol::{Call, CallResult, FromChild};
use crate::child::{End, Lost};
use crate::invoker::{Invoker, Leftover, Partner};
use crate::limits::Excess;
use crate::remarks::Remarks;
use crate::slots::Lease;
use crate::supervisor::Stop;
use crate::vitals::Vitals;

use died::Death;

/// How long a process may take to hear that it should stop, before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// What a call is about: its words, and what becomes of those that come back.
pub(crate) trait Topic {
    /// What is to be called.
    fn entry(&self) -> &str;

    /// The call, under a number that is unique in its process.
    fn call(&self, id: u64) -> Call;

    /// Takes one message. What it says may be kept until [`Topic::tell`], so that many are published at once.
    async fn hear(&mut self, message: FromChild, call: u64) -> Result<Step, Cut>;

    /// Publishes what is kept, and returns when it is durable. Dropped in the middle, it is still kept, though it may
    /// have been published.
    async fn tell(&mut self) -> Result<(), Cut>;

    /// How many events are kept.
    fn kept(&self) -> usize;
}

/// What publishing may take at the cost of a trial's time; what an outage takes is given back.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// Events that are published at once; what comes after them waits in the pipe, and with it the process.
const MOST_KEPT: usize = 512;

/// How a conversation ended.
pub(crate) enum Outcome {
    /// With a result or a failure.
    Over {
        /// What was said, or what became of it.
        result: Box<Result<CallResult, Failure>>,
        /// The end of what was printed on standard output.
        printed: String,
    },
    /// Interrupted; what it was about is not over.
    Dropped,
    /// No Python could be started.
    NoChild(Failure),
    /// An event could not be published.
    Unsaid(Unsaid),
}

/// What a step of the conversation came to.
pub(crate) enum Step {
    GoOn,
    /// A part of the call is over; the time for the next begins.
    NextPart,
    /// The trial is not worth going on with; it learns so at its next report.
    Prune,
    Result(Box<CallResult>),
}

/// Why a conversation ended before a result.
pub(crate) enum Cut {
    Lost(Lost),
    OutOfTime,
    /// It took more of the machine than it may.
    Exceeded(Excess),
    Stopped(Stop),
    /// No process could be started.
    NotStarted(String),
    /// The words of user code make no event.
    Unsayable(Invalid),
    /// The words of user code make no sense; why.
    Senseless(String),
    Unsaid(Unsaid),
}

/// What every conversation of a run has in common.
pub(crate) struct Conversation<'a> {
    pub(crate) invoker: &'a Invoker,
    pub(crate) vitals: &'a Vitals,
    pub(crate) remarks: &'a Remarks,
    /// How long one part of the call may take: a trial.
    pub(crate) limit: Duration,
}

impl Conversation<'_> {
    /// Calls from the leased slot, and passes it on as soon as nothing more is wanted of its child: with the child, if that
    /// is fit for the next call, else without it, while this one's end is waited for.
    pub(crate) async fn hold(
        mut self,
        topic: &mut impl Topic,
        mut lease: Lease,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Outcome {
        let engaged = tokio::select! {
            biased;
            // A start may take minutes. One that is given up leaves an empty slot, and its process ends with its pipe.
            how = stopped(stop) => Err(how),
            engaged = self.invoker.engage(topic.entry(), &mut lease) => Ok(engaged),
        };
        let mut partner = match engaged {
            Ok(Ok(partner)) => partner,
            Ok(Err(failure)) => return Outcome::NoChild(failure),
            Err(Stop::Dropped) => return Outcome::Dropped,
            Err(Stop::Cancelled) => {
                let failure = Failure::new(FailureClass::Cancelled, Stage::Execute, "the run was stopped");
                return Outcome::Over { result: Box::new(Err(failure)), printed: String::new() };
            }
        };
        let is_operators_limit = partner.limit().is_some_and(|limit| limit < self.limit);
        self.limit = partner.limit().map_or(self.limit, |limit| limit.min(self.limit));
        let ended = self.talk(topic, &mut partner, stop).await;
        let probe = partner.probe();
        let unfit = match &ended {
            Ok(result) => result.worn_out.clone().or_else(|| partner.unfit()),
            Err(_) => Some("its call was cut off".to_owned()),
        };
        let printed = partner.printed();
        let warning = partner.warning().map(str::to_owned);
        self.remarks.note(warning.as_deref());
        let leftover = match partner.into_script() {
            Some(script) => Some(Leftover::Script(script)),
            None => {
                lease.note_call();
                // A child that is fit stays in its slot.
                unfit.as_ref().and_then(|_| lease.take_child()).map(Box::new).map(Leftover::Child)
            }
        };
        drop(lease);
        let result = match ended {
            Ok(mut result) => {
                if let Some(leftover) = leftover {
                    leftover.dismiss(unfit.as_deref()).await;
                }
                result.warnings.extend(warning);
                Ok(*result)
            }
            Err(cut) => {
                let end = match (leftover, &cut) {
                    (Some(leftover), Cut::Lost(Lost::Ended)) => leftover.bury().await,
                    (Some(leftover), _) => leftover.kill().await,
                    (None, _) => End::default(),
                };
                let death = Death::of(end.status, probe.is_some_and(|probe| probe.was_short_of_memory()));
                match self.explain(cut, death, is_operators_limit) {
                    Ok(failure) => Err(failure.with_output(&end.stdout, &end.stderr)),
                    Err(outcome) => return outcome,
                }
            }
        };
        Outcome::Over { result: Box::new(result), printed }
    }

    async fn talk(
        &self,
        topic: &mut impl Topic,
        partner: &mut Partner<'_>,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Result<Box<CallResult>, Cut> {
        let call = topic.call(partner.next_call());
        let mut deadline = Instant::now() + self.limit;
        let pulse = self.vitals.begin(Instant::now());
        partner.begin(&call).await?;
        let probe = partner.probe();
        let excess = async {
            match &probe {
                Some(probe) => probe.excess().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(excess);
        loop {
            let message = tokio::select! {
                biased;
                how = stopped(stop) => return wind_down(topic, partner, call.id, how).await,
                // Before the messages: a process that says something all the time has no more time than others.
                () = tokio::time::sleep_until(deadline) => return Err(Cut::OutOfTime),
                excess = &mut excess => return Err(Cut::Exceeded(excess)),
                message = partner.receive() => {
                    pulse.pause();
                    message.map_err(Cut::Lost)?
                }
            };
            let heard = Instant::now();
            let step = tokio::select! {
                biased;
                how = stopped(stop) => return wind_down(topic, partner, call.id, how).await,
                step = hear_all(topic, partner, message, call.id) => step?,
            };
            pulse.beat(Instant::now());
            let waited = heard.elapsed();
            if waited > SHORT_WAIT {
                // The broker's time is not the trial's.
                deadline += waited;
            }
            match step {
                Step::GoOn => {}
                Step::NextPart => deadline = Instant::now() + self.limit,
                Step::Prune => partner.stop(call.id, "pruned").await.map_err(|_| Cut::Lost(Lost::Ended))?,
                Step::Result(result) => return Ok(result),
            }
        }
    }

    /// What a cut means: a failure of the call, or an outcome that is none.
    fn explain(&self, cut: Cut, death: Death, is_operators_limit: bool) -> Result<Failure, Outcome> {
        let failure = |class, message: String| Failure::new(class, Stage::Execute, message);
        match cut {
            Cut::Unsaid(error) => Err(Outcome::Unsaid(error)),
            Cut::Stopped(Stop::Dropped) => Err(Outcome::Dropped),
            Cut::Stopped(Stop::Cancelled) => {
                Ok(failure(FailureClass::Cancelled, "the run was stopped".to_owned()))
            }
            Cut::OutOfTime => {
                let limit = self.limit.as_secs_f64();
                let whose = if is_operators_limit { "--timeout-ms" } else { "budget.max_trial_seconds" };
                let message = format!("the trial took longer than {limit} s ({whose}) and was killed");
                Ok(failure(FailureClass::TimeoutTrial, message))
            }
            Cut::Exceeded(excess @ Excess::Memory { .. }) => {
                Ok(failure(FailureClass::Oom, excess.to_string()))
            }
            Cut::Exceeded(excess @ Excess::Cpu { .. }) => {
                Ok(failure(FailureClass::TimeoutTrial, excess.to_string()))
            }
            Cut::NotStarted(reason) => Err(Outcome::NoChild(failure(FailureClass::Dependency, reason))),
            Cut::Unsayable(invalid) => {
                let message = format!("the trainer reported what no event can say, {invalid}");
                Ok(failure(FailureClass::UserCode, message))
            }
            Cut::Senseless(reason) => Ok(failure(FailureClass::UserCode, reason)),
            Cut::Lost(Lost::Silent) => {
                let message = format!("{}; the process was killed", Lost::Silent);
                Ok(failure(FailureClass::HeartbeatLost, message))
            }
            Cut::Lost(Lost::NoResult(reason)) => Ok(failure(FailureClass::ParseError, reason)),
            Cut::Lost(Lost::Broken(reason)) => {
                Ok(failure(FailureClass::ParseError, format!("the child broke the protocol: {reason}")))
            }
            Cut::Lost(Lost::Ended) => Ok(death.failure()),
        }
    }
}

/// Hears a message and what lies ready behind it, and publishes what all of it says.
async fn hear_all(
    topic: &mut impl Topic,
    partner: &mut Partner<'_>,
    message: FromChild,
    call: u64,
) -> Result<Step, Cut> {
    let mut step = topic.hear(message, call).await;
    let mut has_next_part = matches!(step, Ok(Step::NextPart));
    while matches!(step, Ok(Step::GoOn | Step::NextPart))
        && topic.kept() < MOST_KEPT
        && let Some(message) = partner.ready()
    {
        step = match message {
            Ok(message) => topic.hear(message, call).await,
            Err(lost) => Err(Cut::Lost(lost)),
        };
        has_next_part |= matches!(step, Ok(Step::NextPart));
    }
    // Whatever came last, what was said before it was said.
    topic.tell().await?;
    if has_next_part && matches!(step, Ok(Step::GoOn)) {
        return Ok(Step::NextPart);
    }
    step
}

/// Gives a cancelled call a moment to hear of it. A result that is already on its way still counts.
async fn wind_down(
    topic: &mut impl Topic,
    partner: &mut Partner<'_>,
    call: u64,
    how: Stop,
) -> Result<Box<CallResult>, Cut> {
    if how == Stop::Dropped {
        return Err(Cut::Stopped(how));
    }
    let told = partner.stop(call, "cancelled").await;
    let deadline = Instant::now() + STOP_GRACE;
    while told.is_ok() && Instant::now() < deadline {
        let message = tokio::time::timeout_at(deadline, partner.receive()).await;
        let Ok(Ok(message)) = message else { break };
        let step = tokio::time::timeout_at(deadline, topic.hear(message, call)).await;
        let Ok(step) = step else { break };
        if let Step::Result(result) = step? {
            topic.tell().await?;
            return Ok(result);
        }
    }
    if let Ok(told) = tokio::time::timeout_at(deadline, topic.tell()).await {
        told?;
    }
    Err(Cut::Stopped(how))
}

/// Resolves when the run wants its calls stopped.
pub(crate) async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await {
        Ok(stop) => stop.expect("waited for a stop"),
        // The run is gone; so is whoever would listen.
        Err(_) => Stop::Dropped,
    }
}

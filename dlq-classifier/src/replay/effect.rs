//! What a replay would bring about. Pure: the registry's record and the known trials are arguments.
//!
//! It says what the gates of live traffic will say; the gates decide again when the message arrives.

use schemas::lifecycle::RunState;
use schemas::{Event, FailureClass, RunId, Timestamp};
use service_kit::registry::record::{Claim, Claimant, RunRecord, claim};

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Something that has not happened before.
    New(String),
    /// Nothing: the gates know it already.
    None(String),
    /// Something a person should think about first.
    Unsafe(String),
}

/// What is known about the run a message belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub struct World<'a> {
    /// Its record.
    pub record: Option<&'a RunRecord>,
    /// True if the stream holds a trial with this run and trial id.
    pub is_trial_known: bool,
}

/// Predicts the effect of a valid event that died with a class.
pub fn effect(event: &Event, class: FailureClass, world: World<'_>, now: Timestamp) -> Effect {
    if let Some(stale) = stale(event, world.record) {
        return Effect::None(stale);
    }
    match event {
        Event::RunRequested(request) => {
            let Some(record) = world.record else { return starts_a_run(class) };
            let claimant = Claimant {
                run_id: &record.run_id,
                request,
                // A replay comes after everything that is there.
                sequence: u64::MAX,
                delivery: u64::MAX,
                is_retry_of_failed: false,
                is_owner_gone: false,
                requested_at: now,
                worker_id: "",
            };
            let (_, answer) = claim(Some(record), &claimant, now);
            of_claim(answer, record, class)
        }
        Event::RunCancelRequested(_) => match world.record {
            Some(record) if record.state.is_final() => Effect::None(over(record)),
            Some(record) => {
                Effect::New(format!("ends the run {}, now {}", record.run_id, record.state.as_str()))
            }
            None => Effect::New("the run ends as soon as it is requested".to_owned()),
        },
        Event::TrialReported(trial) if world.is_trial_known => {
            Effect::None(format!("the trial {} is on the stream already", trial.trial_id))
        }
        Event::RunCompleted(_) | Event::RunFailed(_) | Event::RunCancelled(_) => match world.record {
            Some(record) if record.state.is_final() => Effect::None(over(record)),
            Some(record) => Effect::Unsafe(format!(
                "the run {} is {}; readers would take it for ended",
                record.run_id,
                record.state.as_str()
            )),
            None => Effect::New("readers see the end of a run nobody has registered".to_owned()),
        },
        Event::RunStarted(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::TrialReported(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => Effect::New("readers see it for the first time".to_owned()),
    }
}

/// False if an event that died with a class is safe whatever is known of its run.
pub(super) fn may_be_unsafe(event: &Event, class: FailureClass) -> bool {
    match event {
        Event::RunRequested(_) => matches!(starts_a_run(class), Effect::Unsafe(_)),
        Event::RunCompleted(_) | Event::RunFailed(_) | Event::RunCancelled(_) => true,
        Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::TrialReported(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => false,
    }
}

/// What an event brings about that a second one like it does not; `None` where every one is news.
pub(super) fn deed(event: &Event) -> Option<(&'static str, RunId, String)> {
    let run = event.run_id()?.clone();
    match event {
        Event::RunRequested(_) => Some(("requested", run, String::new())),
        Event::RunCancelRequested(_) => Some(("cancel", run, String::new())),
        Event::TrialReported(trial) => Some(("trial", run, trial.trial_id.to_string())),
        Event::RunCompleted(_) | Event::RunFailed(_) | Event::RunCancelled(_) => {
            Some(("end", run, String::new()))
        }
        Event::RunStarted(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => None,
    }
}

/// An event of an attempt that was overtaken is refused by every reader.
fn stale(event: &Event, record: Option<&RunRecord>) -> Option<String> {
    let (attempt, record) = (event.attempt()?, record?);
    let is_fenced = !matches!(event, Event::TrialReported(_) | Event::MetricReported(_));
    (is_fenced && attempt < record.attempt).then(|| {
        format!("attempt {attempt} of the run {} was overtaken by attempt {}", record.run_id, record.attempt)
    })
}

fn of_claim(answer: Claim, record: &RunRecord, class: FailureClass) -> Effect {
    match answer {
        Claim::Granted { attempt: 1 } => starts_a_run(class),
        Claim::Granted { attempt } => match starts_a_run(class) {
            Effect::New(_) => Effect::New(format!(
                "starts attempt {attempt} of the run {}, {}",
                record.run_id,
                record.state.as_str()
            )),
            other @ (Effect::None(_) | Effect::Unsafe(_)) => other,
        },
        Claim::AlreadyOver => Effect::None(over(record)),
        // The worker that gets it looks for whoever has the run.
        Claim::Duplicate if class == FailureClass::WorkerLost => Effect::Unsafe(format!(
            "goes on with the run {} if nobody has it any more: it may take the next worker down as well",
            record.run_id
        )),
        Claim::Duplicate | Claim::Stale => {
            Effect::None(format!("the run {} is being served already", record.run_id))
        }
        Claim::Cancelled { .. } => {
            Effect::None(format!("the run {} was cancelled before it began", record.run_id))
        }
    }
}

/// A request that took a worker down may do so again.
fn starts_a_run(class: FailureClass) -> Effect {
    match class {
        FailureClass::WorkerLost | FailureClass::Oom => Effect::Unsafe(format!(
            "starts a run that died as {class}: it may take the next worker down as well"
        )),
        FailureClass::Decode
        | FailureClass::SchemaUnknown
        | FailureClass::SchemaMismatch
        | FailureClass::Validation
        | FailureClass::UnsupportedSubject
        | FailureClass::Dependency
        | FailureClass::TimeoutTrial
        | FailureClass::TimeoutRun
        | FailureClass::HeartbeatLost
        | FailureClass::SubprocessExit
        | FailureClass::ParseError
        | FailureClass::UserCode
        | FailureClass::NanObjective
        | FailureClass::EntrypointRefused
        | FailureClass::Cancelled
        | FailureClass::Expired
        | FailureClass::StaleAttempt
        | FailureClass::SinkRefused
        | FailureClass::ReplayLoop
        | FailureClass::Unknown => Effect::New("starts a run".to_owned()),
    }
}

fn over(record: &RunRecord) -> String {
    let state: RunState = record.state;
    format!("the run {} is {} already", record.run_id, state.as_str())
}

#[cfg(test)]
mod tests;

//! Faults that show only beside what came before: an attempt that never existed, a second end of a run, a trial of a run
//! nobody knows.
//!
//! Pure: what is known of a run is an argument. The event can be read and stays where it is; the letter says that
//! somebody publishes what cannot be.

use schemas::cloudevents::{Headers, header};
use schemas::dead_letter::REPLAY_OF;
use schemas::{Event, Failure, FailureClass, RunId, Stage};
use serde::{Deserialize, Serialize};

/// How a run ended first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// Sequence of the event that said so.
    pub(super) sequence: u64,
    /// Its message id.
    pub(super) id: Option<String>,
    /// The attempt that ended.
    pub(super) attempt: u32,
}

/// What is remembered of a run beside the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunNote {
    /// The last attempt that was said to have started; 0 when none was.
    #[serde(default)]
    pub(super) started: u32,
    /// How the run ended.
    #[serde(default)]
    pub(super) ended: Option<Ended>,
}

/// What is known of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Attempts the registry has handed out; `None` when it has not heard of the run.
    pub(super) registered: Option<u32>,
    /// What was noted.
    pub(super) note: Option<RunNote>,
}

/// The message an event came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) sequence: u64,
    pub(super) id: Option<&'a str>,
    /// The entry it is a replay of.
    pub(super) replay_of: Option<&'a str>,
}

/// What an event is, beside what is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Finding {
    /// Nothing is wrong with it; what is to be noted of its run.
    Sound(Option<RunNote>),
    /// Nobody knows its run, so far.
    UnknownRun,
    /// It cannot be.
    Fault(Failure),
    /// Nothing is wrong with it, but by it with what was judged before, at a later place of the stream; what is to be
    /// noted of its run.
    Displaces {
        /// Sequence of the other.
        sequence: u64,
        /// What is wrong with it.
        failure: Failure,
        /// What is to be noted.
        note: RunNote,
    },
}

impl Known {
    /// The attempts there have been; `None` when nobody counts them.
    pub(super) fn attempts(&self) -> Option<u32> {
        let counted = |attempts: &u32| *attempts > 0;
        let started = self.note.as_ref().map(|note| note.started);
        self.registered.filter(counted).or(started.filter(counted))
    }

    fn is_registered(&self) -> bool {
        self.registered.is_some()
    }

    fn is_known(&self) -> bool {
        self.is_registered() || self.note.is_some()
    }
}

/// Judges an event that can be read.
pub(super) fn judge(event: &Event, run: &RunId, message: Message<'_>, known: &Known) -> Finding {
    let announced = |started: u32| {
        let note = known.note.clone().unwrap_or_default();
        let next = RunNote { started: note.started.max(started), ..note };
        let is_news = !known.is_registered() && known.note.as_ref() != Some(&next);
        Finding::Sound(is_news.then_some(next))
    };
    // What starts an attempt nobody has handed out announces it, unless somebody does hand them out.
    let starts =
        matches!(event, Event::RunStarted(_)) && known.registered.is_none_or(|attempts| attempts == 0);
    if let (Some(attempt), Some(attempts)) = (event.attempt(), known.attempts())
        && attempt > attempts
        && !starts
    {
        return Finding::Fault(fault(format!(
            "attempt: attempt {attempt} of run \"{run}\" never existed: expected at most {attempts}, which is how many the \
             run has had"
        )));
    }
    match event {
        Event::RunRequested(_) | Event::MlRunStarted(_) => announced(0),
        Event::RunStarted(event) => announced(event.attempt),
        Event::RunCompleted(_) | Event::RunFailed(_) | Event::RunCancelled(_) => {
            ends(event.attempt().unwrap_or(0), run, message, known)
        }
        Event::TrialReported(_) | Event::MetricReported(_) if !known.is_known() => Finding::UnknownRun,
        Event::TrialReported(_)
        | Event::MetricReported(_)
        | Event::RunCancelRequested(_)
        | Event::RunInterrupted(_)
        | Event::MlRunFinalized(_)
        | Event::RunException(_) => Finding::Sound(None),
    }
}

/// A run ends once, and once more for each time it is begun again.
fn ends(attempt: u32, run: &RunId, message: Message<'_>, known: &Known) -> Finding {
    let note = known.note.clone().unwrap_or_default();
    let ended = Ended { sequence: message.sequence, id: message.id.map(str::to_owned), attempt };
    let Some(first) = &note.ended else {
        return Finding::Sound(Some(RunNote { ended: Some(ended), ..note }));
    };
    if message.sequence == first.sequence || message.repeats(first) || message.is_repeated_by(first) {
        return Finding::Sound(None);
    }
    if message.sequence < first.sequence {
        // The noted one came later, and was right to if the run had been begun again.
        if first.attempt > attempt {
            return Finding::Sound(None);
        }
        let (sequence, failure) = (first.sequence, second_end(run, message.sequence, attempt));
        return Finding::Displaces { sequence, failure, note: RunNote { ended: Some(ended), ..note } };
    }
    if attempt > first.attempt {
        return Finding::Sound(Some(RunNote { ended: Some(ended), ..note }));
    }
    Finding::Fault(second_end(run, first.sequence, first.attempt))
}

fn second_end(run: &RunId, sequence: u64, attempt: u32) -> Failure {
    fault(format!(
        "second terminal event: run \"{run}\" had ended with message {sequence} already, in attempt {attempt}; expected none \
         after it but of a later attempt"
    ))
}

impl<'a> Message<'a> {
    /// The message at a sequence with these headers.
    pub(super) fn of(sequence: u64, headers: &'a Headers) -> Self {
        Self { sequence, id: headers.get(header::MESSAGE_ID), replay_of: headers.get(REPLAY_OF) }
    }

    /// Whether it is the same event once more, or our replay of it.
    fn repeats(&self, first: &Ended) -> bool {
        let is_same = self.id.is_some() && self.id == first.id.as_deref();
        let is_replay = self.replay_of.is_some_and(|entry| {
            let sequence = entry.split_once('-').and_then(|(sequence, _)| sequence.parse().ok());
            let original = self.id.and_then(|id| id.rsplit_once("/r")).map(|(original, _)| original);
            sequence == Some(first.sequence) || original.is_some() && original == first.id.as_deref()
        });
        is_same || is_replay
    }

    /// Whether what was noted is our replay of it, as its message id says.
    fn is_repeated_by(&self, noted: &Ended) -> bool {
        let Some((original, _)) = noted.id.as_deref().and_then(|id| id.rsplit_once("/r")) else {
            return false;
        };
        let entry = original.split_once('-').and_then(|(sequence, _)| sequence.parse().ok());
        self.id == Some(original) || entry == Some(self.sequence)
    }
}

/// The fault of a trial or a value of a run that nobody has announced.
pub(super) fn unknown_run(event: &Event, run: &RunId) -> Failure {
    let what = event.record().name();
    fault(format!(
        "run_id: {what} of the unknown run \"{run}\": expected a run of the registry, or one that was announced by \
         cerebros.nas.run.requested, cerebros.nas.run.started or ml.run.start"
    ))
}

fn fault(words: String) -> Failure {
    Failure::new(FailureClass::Validation, Stage::Validate, words)
}

#[cfg(test)]
mod tests;

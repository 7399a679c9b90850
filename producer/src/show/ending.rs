//! Why a run ended, in words. The machine's word stays beside them.

use schemas::FailureClass;

/// `ended_by` of the run registry for a person; `None` for a word we do not know.
pub(super) fn in_words(ended_by: &str, reason: Option<&String>) -> Option<String> {
    let words = match ended_by {
        "max_trials" => "every trial of its budget was trained",
        "max_seconds" => "its time was up (budget.max_seconds)",
        "max_failed_trials" => "too many of its trials failed (budget.max_failed_trials)",
        "max_consecutive_failures" => {
            "too many trials failed one after the other (budget.max_consecutive_failures)"
        }
        "cancelled" => return Some(cancelled(reason)),
        class => of_class(FailureClass::parse(class)?),
    };
    Some(words.to_owned())
}

fn cancelled(reason: Option<&String>) -> String {
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("somebody asked for its end: {reason}"),
        None => "somebody asked for its end".to_owned(),
    }
}

fn of_class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Decode => "a message could not be read",
        FailureClass::SchemaUnknown => "a message was written with a schema nobody has registered",
        FailureClass::SchemaMismatch => "a message did not fit its schema",
        FailureClass::Validation => "its request can never run as it is",
        FailureClass::UnsupportedSubject => "a message came on a subject that carries no such event",
        FailureClass::Dependency => "something it depends on was not there",
        FailureClass::TimeoutTrial => "a trial took longer than it may (budget.max_trial_seconds)",
        FailureClass::TimeoutRun => "its time was up before any trial succeeded (budget.max_seconds)",
        FailureClass::HeartbeatLost => "a training process no longer answered",
        FailureClass::WorkerLost => "its workers were lost over it",
        FailureClass::Oom => "a training process ran out of memory",
        FailureClass::SubprocessExit => "a training process ended before it was done",
        FailureClass::ParseError => "what a training process returned could not be read",
        FailureClass::UserCode => "the trainer's code failed",
        FailureClass::NanObjective => "its objective was no number",
        FailureClass::EntrypointRefused => "its worker does not allow the code it names",
        FailureClass::Cancelled => "somebody asked for its end",
        FailureClass::Expired => "no worker had taken its request by the time it was wanted (ce-expirytime)",
        FailureClass::StaleAttempt => "another attempt owned it",
        FailureClass::SinkRefused => "the tracking server refused what was written",
        FailureClass::ReplayLoop => "its request was replayed too often",
        FailureClass::Unknown => "nobody knows why",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_ours_has_words_and_a_stranger_s_has_none() {
        let budget = ["max_trials", "max_seconds", "max_failed_trials", "max_consecutive_failures"];
        let classes = FailureClass::ALL.map(FailureClass::as_str);
        for word in budget.into_iter().chain(classes) {
            assert!(in_words(word, None).is_some_and(|words| !words.is_empty()), "{word}");
        }
        assert_eq!(in_words("full_moon", None), None);
    }

    #[test]
    fn a_cancelled_run_tells_the_reason_if_there_was_one() {
        let reason = |text: &str| in_words("cancelled", Some(&text.to_owned())).unwrap();
        assert_eq!(reason("too slow"), "somebody asked for its end: too slow");
        assert_eq!(reason(""), in_words("cancelled", None).unwrap());
    }
}

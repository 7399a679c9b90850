//! Who says what, and who listens.

use async_nats::jetstream::consumer::pull;
use schemas::Record;
use service_kit::topology;

/// Who publishes a record.
pub(super) fn published_by(record: Record) -> &'static str {
    match record {
        Record::RunRequested | Record::RunCancelRequested => "anyone",
        Record::TrialReported => "worker, or anyone who trains elsewhere and has published `ml.run.start`",
        Record::MlRunStarted => "worker, or anyone who trains elsewhere",
        Record::RunStarted
        | Record::RunCompleted
        | Record::RunFailed
        | Record::RunCancelled
        | Record::RunInterrupted
        | Record::MlRunFinalized
        | Record::MetricReported
        | Record::RunException => "worker",
    }
}

/// True if the pipeline listens to what others publish there.
pub(super) fn is_taken_from_anyone(record: Record) -> bool {
    published_by(record) != "worker"
}

/// True if the pipeline publishes it itself. A request comes from whoever asks; our own tools are one of them.
pub(super) fn is_published_by_us(record: Record) -> bool {
    published_by(record) != "anyone"
}

/// When it is said.
pub(super) fn occasion(record: Record) -> &'static str {
    match record {
        Record::RunRequested => "Whenever somebody wants a search.",
        Record::RunCancelRequested => "Whenever somebody wants a search to end.",
        Record::RunStarted => "Once per attempt of a run.",
        Record::RunCompleted | Record::RunFailed | Record::RunCancelled => {
            "At the end of a run: exactly one of completed, failed and cancelled."
        }
        Record::RunInterrupted => "When the machine of an attempt stops; another attempt follows.",
        Record::MlRunStarted | Record::MlRunFinalized => "Once per run.",
        Record::TrialReported => "Once per trial, at its end.",
        Record::MetricReported => "Once per trial, metric and step, while the trial trains.",
        Record::RunException => "For every failed attempt of a call.",
    }
}

/// The durable consumers that take a subject.
pub(super) fn consumers_of(subject: &str) -> Vec<pull::Config> {
    let takes = |consumer: &pull::Config| {
        consumer.filter_subjects.is_empty()
            || consumer.filter_subjects.iter().any(|filter| is_match(filter, subject))
    };
    topology::consumers().into_iter().filter(takes).collect()
}

/// As the broker matches: `*` is one part, `>` one or more at the end.
fn is_match(filter: &str, subject: &str) -> bool {
    let mut parts = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, parts.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(part)) if wanted == part => {}
            (_, Some(_) | None) => return false,
        }
    }
    parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_what_the_broker_would_hand_over() {
        for (filter, subject, expected) in [
            ("ml.run.*", "ml.run.trial", true),
            ("ml.run.*", "ml.run", false),
            ("ml.run.*", "ml.run.a.b", false),
            ("ml.>", "ml.run.trial", true),
            ("ml.>", "ml", false),
            ("ml.run.trial", "ml.run.trial", true),
            ("ml.run", "ml.run.trial", false),
        ] {
            assert_eq!(is_match(filter, subject), expected, "{filter} on {subject}");
        }
    }

    #[test]
    fn every_record_has_a_listener() {
        for record in Record::ALL {
            assert!(!consumers_of(record.subject()).is_empty());
            assert!(is_taken_from_anyone(record) || is_published_by_us(record));
        }
    }
}

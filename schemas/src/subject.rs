//! The subjects: exactly `cerebros.nas.run.<event>`, `ml.run.<event>` and `cerebros.dlq.<class>.<original subject>`;
//! beside them, for programs among themselves, `cerebros.fence.<run>` and [`REPLAY_FENCE`].

use sha2::{Digest as _, Sha256};

use crate::FailureClass;
use crate::failure::bounded_head;

/// Stream of both event families.
pub const STREAM: &str = "CEREBROS";
/// Stream of the dead letters.
pub const DLQ_STREAM: &str = "CEREBROS_DLQ";
/// Stream of the broker's advisories about deliveries that ran out or were terminated.
pub const ADVISORY_STREAM: &str = "CEREBROS_ADVISORIES";
/// The two families of events.
pub const EVENT_SUBJECTS: [&str; 2] = ["cerebros.nas.run.*", "ml.run.*"];
/// What the event stream takes in: the events, and the fences of runs and replays that were taken over.
pub const STREAM_SUBJECTS: [&str; 3] = [EVENT_SUBJECTS[0], EVENT_SUBJECTS[1], "cerebros.fence.>"];
/// Prefix of the fences: `cerebros.fence.<run id>`. They are no events; readers of events ask for [`EVENT_SUBJECTS`].
pub const FENCE_PREFIX: &str = "cerebros.fence.";
/// The fence of the replays of dead letters. No run has such an id.
pub const REPLAY_FENCE: &str = "cerebros.fence.~replays";
/// What the dead-letter stream takes in.
pub const DLQ_SUBJECTS: &str = "cerebros.dlq.>";
/// Prefix of the dead letters.
pub const DLQ_PREFIX: &str = "cerebros.dlq.";
/// Subjects of the operations people did on dead letters (`cerebros.dlq.operation.<replayed|discarded|...>`).
/// `operation` is no failure class, so no dead letter can have such a subject.
pub const DLQ_OPERATION_PREFIX: &str = "cerebros.dlq.operation.";

/// Subjects of the alerts about the dead-letter queue (`cerebros.dlq.alert.<kind>`); no failure class either.
pub const DLQ_ALERT_PREFIX: &str = "cerebros.dlq.alert.";

/// Longest original subject that is whole in the subject of its dead letter. The broker closes the connection of who sends
/// it a line of more than 4 KiB, which has an inbox in it as well; the letter's headers have every subject whole.
const MAX_ORIGINAL: usize = 1024;

/// Where the dead letter of a message that came on `original` is kept.
pub fn dead_letter(class: FailureClass, original: &str) -> String {
    if original.len() <= MAX_ORIGINAL {
        return format!("{DLQ_PREFIX}{class}.{original}");
    }
    let digest = Sha256::digest(original);
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{DLQ_PREFIX}{class}.{}~{digits}", bounded_head(original, MAX_ORIGINAL))
}

/// The class and the original subject of a dead letter's subject.
pub fn parse_dead_letter(subject: &str) -> Option<(FailureClass, &str)> {
    let (class, original) = subject.strip_prefix(DLQ_PREFIX)?.split_once('.')?;
    Some((FailureClass::parse(class)?, original))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_s_subject_tells_its_class_and_where_it_came_from() {
        let subject = dead_letter(FailureClass::Validation, "ml.run.trial");
        assert_eq!(subject, "cerebros.dlq.validation.ml.run.trial");
        assert_eq!(parse_dead_letter(&subject), Some((FailureClass::Validation, "ml.run.trial")));
        assert_eq!(parse_dead_letter("cerebros.dlq.operation.replayed"), None);
    }

    #[test]
    fn a_subject_too_long_for_ours_is_told_from_another_like_it() {
        let kept =
            |last: char| dead_letter(FailureClass::Decode, &format!("ml.run.{}{last}", "x.".repeat(2000)));
        assert!(kept('a').len() < 1200 && kept('a').starts_with("cerebros.dlq.decode.ml.run.x.x."));
        assert_ne!(kept('a'), kept('b'));
        assert!(kept('a').split('.').all(|word| !word.is_empty()));
    }
}

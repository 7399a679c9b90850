//! What makes two faults equal.

use sha2::{Digest, Sha256};

use super::{FailureClass, Stage};

/// Hash that groups equal faults: class, stage and the message with numbers, quoted parts and hex ids taken out,
/// so that 500 failures of 3 causes make 3 groups.
pub fn fingerprint(class: FailureClass, stage: Stage, message: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(class.as_str());
    hash.update([0]);
    hash.update(stage.as_str());
    hash.update([0]);
    hash.update(shape_of(message));
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The message without what differs between two instances of one fault: words that contain a digit and text in
/// double quotes each become one mark.
fn shape_of(message: &str) -> String {
    let mut shape = String::with_capacity(message.len());
    let mut is_quoted = false;
    for part in message.split_inclusive('"') {
        if is_quoted {
            shape.push('?');
        } else {
            for word in part.split_inclusive(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_' | '.'))
            {
                if word.chars().any(|c| c.is_ascii_digit()) { shape.push('#') } else { shape.push_str(word) }
            }
        }
        is_quoted = part.ends_with('"') && !is_quoted;
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_faults_share_a_fingerprint_and_different_ones_do_not() {
        let at = |message: &str| fingerprint(FailureClass::Validation, Stage::Decode, message);
        assert_eq!(at("budget.max_trials: found -1"), at("budget.max_trials: found -77"));
        assert_eq!(at("unknown data set \"a\""), at("unknown data set \"b c\""));
        assert_ne!(at("budget.max_trials: wrong"), at("budget.max_seconds: wrong"));
        assert_ne!(at("x"), fingerprint(FailureClass::Decode, Stage::Decode, "x"));
    }
}

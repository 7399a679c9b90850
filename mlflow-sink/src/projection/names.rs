//! Names MLflow accepts: letters, digits and `_ - . space : /`, at most 250, and nothing that walks a path.
//!
//! Only ASCII is kept, although newer servers take more: a name must be legal on all of them. What has to be changed
//! ends in a short hash of the original, so that two different names never become one.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Longest name.
pub const MAX_CHARS: usize = 250;
/// What a changed name ends in: a dash and twelve hex digits: six would collide among a few thousand names.
const MARK_CHARS: usize = 13;

/// The legal form of a name: itself, or a changed one with the hash of the original.
pub fn legal(name: &str) -> Cow<'_, str> {
    if is_legal(name) {
        return Cow::Borrowed(name);
    }
    let readable: String =
        name.chars().map(|c| if is_allowed(c) { c } else { '_' }).take(MAX_CHARS - MARK_CHARS).collect();
    let mut segments: Vec<&str> =
        readable.split('/').filter(|segment| !segment.is_empty() && !is_step(segment)).collect();
    if segments.is_empty() {
        segments.push("_");
    }
    let joined = segments.join("/");
    // A name that begins with two dots is refused even where it walks nowhere.
    let safe = joined.strip_prefix("..").map_or_else(|| joined.clone(), |rest| format!("__{rest}"));
    Cow::Owned(format!("{safe}-{}", mark(name)))
}

/// A legal name with room for a few characters behind it.
pub fn shortened(name: &str) -> &str {
    name.get(..MAX_CHARS - 12).unwrap_or(name)
}

/// True for a name every server takes as it is.
fn is_legal(name: &str) -> bool {
    (1..=MAX_CHARS).contains(&name.len())
        && name.chars().all(is_allowed)
        && !name.starts_with("..")
        && name.split('/').all(|segment| !segment.is_empty() && !is_step(segment))
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/')
}

fn is_step(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

fn mark(name: &str) -> String {
    Sha256::digest(name).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_legal_name_stays() {
        for name in ["accuracy", "val/loss", "a.b-c d:e", "x/..y", &"n".repeat(250)] {
            assert_eq!(legal(name), name);
        }
    }

    #[test]
    fn a_name_that_walks_a_path_is_stopped() {
        for name in ["", "/", "/etc", "a//b", "a/", "..", "../x", "..x", "a/./b", "a/../b", "."] {
            let changed = legal(name);
            assert!(is_legal(&changed), "{name} -> {changed}");
        }
    }

    #[test]
    fn different_names_stay_different() {
        assert_ne!(legal("é"), legal("è"));
        assert_ne!(legal("/a"), legal("a"));
        assert_ne!(legal(&"x".repeat(251)), legal(&"x".repeat(252)));
    }

    proptest! {
        #[test]
        fn every_name_becomes_legal_and_stays_so(name in "\\PC{0,300}|[./a]{0,12}") {
            let once = legal(&name).into_owned();
            prop_assert!(is_legal(&once), "{}", once);
            prop_assert_eq!(legal(&once), once.as_str());
        }
    }
}

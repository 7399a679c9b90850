//! The names a spec may use, and the one a writer may have meant.

use schemas::Event;
use schemas::event::RunRequested;
use serde_json::Value;

/// Settings that are read from the free-form `parameters`.
const SETTINGS: [&str; 4] = ["mutation_rate", "crossover_rate", "elite_size", "pruner"];
/// Likeness, from 0 to 1, from which a name passes for a slip of another.
const LIKE: f64 = 0.6;

/// What to say about a field nobody reads.
pub(super) fn warning(path: &str) -> String {
    match meant(path) {
        Some(known) => format!("{path} is not known and is ignored; did you mean {known}?"),
        None => format!("{path} is not known and is ignored"),
    }
}

/// The known path most like this one: a field of the same object first, then the same name elsewhere.
fn meant(path: &str) -> Option<String> {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let likeness = |known: &str| {
        let (known_parent, known_name) = known.rsplit_once('.').unwrap_or(("", known));
        let likeness = strsim::normalized_damerau_levenshtein(name, known_name);
        if known_parent == parent { likeness + 0.01 } else { likeness }
    };
    // Comparing costs the product of the lengths; no name of ours is long.
    if name.len() > 64 {
        return None;
    }
    paths()
        .into_iter()
        .map(|known| (likeness(&known), known))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

/// The name in `known` that `name` may be a slip of.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase();
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&name, known);
    known
        .iter()
        .map(|known| (likeness(known), *known))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

/// Every path the contract names: a request with nothing left out has them all.
fn paths() -> Vec<String> {
    let complete = Event::from(RunRequested::new("")).to_json();
    let names = |value: &Value, prefix: &str| -> Vec<String> {
        value
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys())
            .map(|name| format!("{prefix}{name}"))
            .collect()
    };
    let settings = SETTINGS.iter().map(|name| format!("parameters.{name}"));
    names(&complete, "").into_iter().chain(names(&complete["budget"], "budget.")).chain(settings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_field_and_a_misplaced_one_its_place() {
        for (path, known) in [
            ("budget.max_trails", Some("budget.max_trials")),
            ("dataset", Some("dataset_id")),
            ("max_trials", Some("budget.max_trials")),
            ("mutation_rate", Some("parameters.mutation_rate")),
            ("objektive", Some("objective")),
            ("priorty", Some("priority")),
            ("max_consecutive_failure", Some("budget.max_consecutive_failures")),
            ("prunner", Some("parameters.pruner")),
            ("zzz", None),
        ] {
            assert_eq!(meant(path).as_deref(), known, "{path}");
        }
    }
}

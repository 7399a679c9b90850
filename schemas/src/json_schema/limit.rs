//! What a field's value must be beside its type, in the words of JSON Schema. The twin of `event::validate`, from which
//! it takes the numbers; that both say the same is a test over mutated events.

use std::fmt;

use crate::event::{MAX_ENTRIES, MAX_NAME_BYTES, MAX_PARALLELISM, MAX_PRIORITY, MAX_TRIALS};
use crate::ids::MAX_ID_BYTES;
use crate::ordered_json::Ordered;

/// A demand on a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// An identity of a run or a trial.
    Id,
    /// A name: not blank, one line.
    Name,
    /// An integer between these, both included.
    Range(i64, i64),
    /// An integer from 0.
    From0,
    /// A finite number above 0.
    Above0,
    /// A free-form part that has to be an object.
    Object,
    /// A list of so many entries at most.
    Entries,
    /// A map of so many entries at most, by name.
    NamedEntries,
}

/// Largest count the types hold.
const MAX_COUNT: i64 = u32::MAX as i64;

/// Without control characters, and not blank.
const ONE_LINE: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";

impl Limit {
    /// What holds for a field of a record, if anything does.
    pub(super) fn of(record: &str, field: &str) -> Option<Self> {
        let limit = match (record, field) {
            (_, "run_id" | "trial_id") => Self::Id,
            (_, "attempt") => Self::Range(1, MAX_COUNT),
            (_, "completed_trials" | "failed_trials" | "resumed_trials" | "number") => {
                Self::Range(0, MAX_COUNT)
            }
            (
                "RunRequested",
                "dataset_id" | "objective" | "strategy" | "trainer" | "entrypoint" | "pulse_id"
                | "experiment" | "correlation_id",
            )
            | ("MetricReported", "name") => Self::Name,
            ("RunRequested", "search_space" | "parameters" | "extra") | ("TrialReported", "parameters") => {
                Self::Object
            }
            (
                "Budget",
                "max_trials" | "population_size" | "max_failed_trials" | "max_consecutive_failures",
            ) => Self::Range(1, MAX_TRIALS.into()),
            ("RunRequested", "priority") => Self::Range((-MAX_PRIORITY).into(), MAX_PRIORITY.into()),
            ("Budget", "parallelism") => Self::Range(1, MAX_PARALLELISM.into()),
            ("Budget", "max_seconds" | "max_trial_seconds") | ("RunRequested", "tau") => Self::Above0,
            (_, "duration_ms" | "next_attempt_in_ms" | "rank" | "step" | "seed") => Self::From0,
            (_, "tags" | "metrics") => Self::NamedEntries,
            (_, "parent_ids" | "artifact_refs" | "warnings") => Self::Entries,
            _ => return None,
        };
        Some(limit)
    }

    /// The words that say it.
    pub(super) fn words(self) -> Vec<(&'static str, Ordered)> {
        match self {
            Self::Id => vec![
                ("maxLength", length(MAX_ID_BYTES)),
                ("pattern", r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$".into()),
            ],
            Self::Name => name(),
            Self::Range(low, high) => vec![("minimum", low.into()), ("maximum", high.into())],
            Self::From0 => vec![("minimum", 0.into())],
            Self::Entries => vec![("maxItems", length(MAX_ENTRIES))],
            Self::NamedEntries => {
                let names = name().into_iter().map(|(word, value)| (word.to_owned(), value)).collect();
                vec![("maxProperties", length(MAX_ENTRIES)), ("propertyNames", Ordered::Object(names))]
            }
            // These stand in place of the type.
            Self::Above0 | Self::Object => Vec::new(),
        }
    }
}

/// The same for people.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => write!(f, "1 to {MAX_ID_BYTES} characters of `A-Z a-z 0-9 . _ -`"),
            Self::Name => write!(f, "1 to {MAX_NAME_BYTES} bytes on one line"),
            Self::Range(low, MAX_COUNT) => write!(f, "from {low}"),
            Self::Range(low, high) => write!(f, "{low} to {high}"),
            Self::From0 => f.write_str("from 0"),
            Self::Above0 => f.write_str("finite and above 0"),
            Self::Object => f.write_str("an object"),
            Self::Entries | Self::NamedEntries => write!(f, "at most {MAX_ENTRIES} entries"),
        }
    }
}

/// Characters are counted here and bytes by the decoder, so that this is the weaker of the two.
fn name() -> Vec<(&'static str, Ordered)> {
    vec![("maxLength", length(MAX_NAME_BYTES)), ("pattern", ONE_LINE.into())]
}

fn length(limit: usize) -> Ordered {
    i64::try_from(limit).expect("limits are small").into()
}

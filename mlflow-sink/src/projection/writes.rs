//! What can be written to one MLflow run.

use std::collections::BTreeMap;

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::dataset::hex;
use super::names::{self, legal};
use super::nonfinite::NonFinite;
use super::originals::Originals;

/// Longest value of a parameter, in characters.
pub const PARAM_CHARS: usize = 6000;
/// Longest value of a tag, in characters: the limit of MLflow 2; MLflow 3 takes 8000.
pub const TAG_CHARS: usize = 5000;

/// Tag MLflow keeps the name of a run in, too.
const NAME_TAG: &str = "mlflow.runName";
/// Tags with the values of a metric that are no numbers.
pub const NONFINITE_PREFIX: &str = "cerebros.nonfinite.";
/// Tags that lead to the whole of a value that was cut.
pub const CUT_PREFIX: &str = "cerebros.cut.";

/// State of an MLflow run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "MLflow's own names")]
pub enum RunStatus {
    Running,
    Finished,
    Failed,
    Killed,
}

impl RunStatus {
    /// The name on MLflow's wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }
}

/// How an MLflow run is created: what identifies it, and of a trial what its report says already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth {
    /// Name for people.
    pub name: String,
    /// Milliseconds since 1970.
    pub start_time: i64,
    /// Identity, and more.
    pub tags: BTreeMap<String, String>,
}

impl Birth {
    /// Its tags and the one MLflow makes of its name.
    pub fn all_tags(self) -> BTreeMap<String, String> {
        let Self { name, mut tags, .. } = self;
        tags.insert(NAME_TAG.to_owned(), name);
        tags
    }
}

/// How an MLflow run ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The honest status.
    pub status: RunStatus,
    /// Milliseconds since 1970.
    pub end_time: i64,
    /// Name for people, where the ending event knows a better one than the first.
    pub name: Option<String>,
}

impl Closing {
    /// The same for a run that was created with these tags: MLflow looks its name up before it sets it, so it is not told
    /// the one it has.
    #[must_use]
    pub fn after_birth_with(self, tags: &BTreeMap<String, String>) -> Self {
        let Self { status, end_time, name } = self;
        Self { status, end_time, name: name.filter(|name| tags.get(NAME_TAG) != Some(name)) }
    }
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Legal name.
    pub key: String,
    /// Finite value.
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Step.
    pub step: i64,
}

/// Parameters, tags and metrics for one MLflow run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Writes {
    /// Written once; the same value again is allowed.
    pub params: BTreeMap<String, String>,
    /// The last value counts.
    pub tags: BTreeMap<String, String>,
    /// Appended.
    pub points: Vec<Point>,
    /// Beside them: what of all this is not as it was.
    pub originals: Originals,
}

impl Writes {
    /// Adds a tag of ours, whose name is legal.
    pub fn tag(&mut self, name: &str, value: impl Into<String>) {
        let value = self.within("tag", name, value.into(), TAG_CHARS);
        self.tags.insert(name.to_owned(), value);
    }

    /// Adds a tag of ours when there is a value.
    pub fn tag_some(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.tag(name, value.to_string());
        }
    }

    /// Adds a tag somebody else named.
    pub fn foreign_tag(&mut self, name: &str, value: &str) {
        let is_reserved = name.starts_with("mlflow.") || name.starts_with("cerebros.");
        let key = if is_reserved { self.name(&format!("cerebros.tag.{name}")) } else { self.name(name) };
        self.tag(&key, value);
    }

    /// Adds a parameter. A second one of the same name gets a number behind it.
    pub fn param(&mut self, name: &str, value: impl Into<String>) {
        let base = self.name(name);
        let whole: String = value.into();
        let value = fitting(&whole, PARAM_CHARS);
        let mut key = base.clone();
        let mut count = 1;
        while self.params.get(&key).is_some_and(|known| *known != value) {
            count += 1;
            key = format!("{}_{count}", names::shortened(&base));
        }
        if key != base {
            self.tag(&legal(&format!("cerebros.name.{key}")), name);
            self.originals.name(&key, name);
        }
        let value = self.within("param", &key, whole, PARAM_CHARS);
        self.params.insert(key, value);
    }

    /// Adds the values of a metric that are no numbers, as a tag.
    pub fn nonfinite(&mut self, key: &str, values: &NonFinite) {
        self.tag(&nonfinite_tag(key), values.tag());
    }

    /// The value as MLflow takes it. Where that is not the whole, a tag tells what the whole was and, once
    /// [`Writes::traced`], where it is.
    fn within(&mut self, kind: &str, key: &str, value: String, limit: usize) -> String {
        let fitting = fitting(&value, limit);
        if fitting != value {
            let trace = format!("sha256:{} chars:{}", hex(&Sha256::digest(&value)), value.chars().count());
            self.tags.insert(legal(&format!("{CUT_PREFIX}{kind}.{key}")).into_owned(), trace);
            self.originals.value(kind, key, &value);
        }
        fitting
    }

    /// The same, with the place in the stream of the event these are from, wherever something was cut.
    #[must_use]
    pub fn traced(mut self, sequence: u64) -> Self {
        let cut = self.tags.iter_mut().filter(|(name, _)| name.starts_with(CUT_PREFIX));
        for (_, trace) in cut.filter(|(_, trace)| !trace.contains(" sequence:")) {
            trace.push_str(&format!(" sequence:{sequence}"));
        }
        self
    }

    /// The legal form of a name; a changed one is recorded beside it.
    pub fn name(&mut self, original: &str) -> String {
        let key = legal(original).into_owned();
        if key != original {
            let record = legal(&format!("cerebros.name.{key}")).into_owned();
            self.tag(&record, original);
            self.originals.name(&key, original);
        }
        key
    }

    /// Adds everything of `other`, whose tags win.
    pub fn extend(&mut self, other: Self) {
        self.params.extend(other.params);
        self.tags.extend(other.tags);
        self.points.extend(other.points);
        self.originals.extend(other.originals);
    }

    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty() && self.tags.is_empty() && self.points.is_empty()
    }
}

/// The tag with the values of a metric, by its legal name, that are no numbers.
pub fn nonfinite_tag(key: &str) -> String {
    legal(&format!("{NONFINITE_PREFIX}{key}")).into_owned()
}

/// The text as every server takes it: some databases take no NUL character.
pub fn fitting(text: &str, limit: usize) -> String {
    let text =
        if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{2400}")) } else { Cow::Borrowed(text) };
    cut(text.into_owned(), limit)
}

/// The text within a limit; what is cut says how long it was.
pub fn cut(text: String, limit: usize) -> String {
    // A text has at most as many characters as bytes, which is quicker to know.
    if text.len() <= limit || text.chars().count() <= limit {
        return text;
    }
    let marker = format!("... [cut, {} characters]", text.chars().count());
    let kept = limit - marker.chars().count();
    text.chars().take(kept).chain(marker.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_to_the_limit_and_says_so() {
        let text = cut("é".repeat(7000), PARAM_CHARS);
        assert_eq!(text.chars().count(), PARAM_CHARS);
        assert!(text.ends_with("... [cut, 7000 characters]"));
        assert_eq!(cut("é".repeat(PARAM_CHARS), PARAM_CHARS), "é".repeat(PARAM_CHARS));
    }

    #[test]
    fn what_is_cut_can_be_traced_to_the_whole() {
        let mut writes = Writes::default();
        writes.param("big", "x".repeat(7000));
        writes.param("nul", "a\0b");
        writes.tag("cerebros.big", "y".repeat(6000));
        writes.tag("small", "z");
        let writes = writes.traced(42);
        assert_eq!(writes.params["nul"], "a\u{2400}b");
        let whole = hex(&Sha256::digest("x".repeat(7000)));
        assert_eq!(writes.tags["cerebros.cut.param.big"], format!("sha256:{whole} chars:7000 sequence:42"));
        assert!(writes.tags["cerebros.cut.tag.cerebros.big"].ends_with("chars:6000 sequence:42"));
        assert!(writes.tags["cerebros.cut.param.nul"].contains("chars:3"));
        assert_eq!(writes.tags.len(), 5);
    }

    #[test]
    fn two_parameters_of_one_name_are_both_kept() {
        let mut writes = Writes::default();
        writes.param("a.b", "1");
        writes.param("a.b", "2");
        writes.param("a.b", "1");
        let params: Vec<_> =
            writes.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(params, [("a.b", "1"), ("a.b_2", "2")]);
        assert_eq!(writes.tags["cerebros.name.a.b_2"], "a.b");
    }

    #[test]
    fn a_run_is_not_told_the_name_it_was_born_with() {
        let closing = |name: Option<&str>| Closing {
            status: RunStatus::Finished,
            end_time: 7,
            name: name.map(str::to_owned),
        };
        let born = BTreeMap::from([(NAME_TAG.to_owned(), "trial-00042".to_owned())]);
        assert_eq!(closing(Some("trial-00042")).after_birth_with(&born), closing(None));
        assert_eq!(closing(Some("trial-00043")).after_birth_with(&born), closing(Some("trial-00043")));
        assert_eq!(
            closing(Some("trial-00042")).after_birth_with(&BTreeMap::new()),
            closing(Some("trial-00042"))
        );
        assert_eq!(closing(None).after_birth_with(&born), closing(None));
    }

    #[test]
    fn a_changed_name_is_recorded_and_ours_cannot_be_overwritten() {
        let mut writes = Writes::default();
        writes.foreign_tag("mlflow.parentRunId", "stolen");
        writes.foreign_tag("équipe", "vision");
        assert_eq!(writes.tags["cerebros.tag.mlflow.parentRunId"], "stolen");
        let legal = writes.name("équipe");
        assert_eq!(writes.tags[&legal], "vision");
        assert_eq!(writes.tags[&format!("cerebros.name.{legal}")], "équipe");
    }
}

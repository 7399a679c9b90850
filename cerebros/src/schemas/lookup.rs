//! From what a person typed to a record and a version of it.

use schemas::Record;
use schemas::record::Version;
use service_kit::error::CliError;
use service_kit::exit::Exit;

/// Likeness, from 0 to 1, from which a name passes for a slip of another.
const LIKE: f64 = 0.6;
/// Comparing costs the product of the lengths; no name of ours is longer.
const LONGEST: usize = 64;

/// The record that is called so: by its name, its subject, or the name of its files.
///
/// # Errors
/// When there is none, with the most similar one and the list.
pub(super) fn record(text: &str) -> Result<Record, CliError> {
    let is_meant = |record: &Record| names(*record).iter().any(|name| name.eq_ignore_ascii_case(text));
    Record::ALL.into_iter().find(is_meant).ok_or_else(|| unknown(text))
}

/// The version that is called `RECORD` (the latest) or `RECORD:V`.
///
/// # Errors
/// When there is none.
pub(super) fn version(text: &str) -> Result<&'static Version, CliError> {
    let Some((name, number)) = text.rsplit_once(':') else { return record(text).map(Record::latest) };
    let record = record(name)?;
    let digits = number.strip_prefix('v').unwrap_or(number);
    let is_meant = |version: &&Version| version.number.to_string() == digits;
    record.versions().iter().find(is_meant).ok_or_else(|| {
        let known: Vec<String> = record.versions().iter().map(|version| version.number.to_string()).collect();
        CliError::new(
            "version-unknown",
            Exit::NotFound,
            format!("{} has no version \"{number}\"", record.name()),
        )
        .help(format!("its versions are {}; without one the latest is shown", known.join(", ")))
    })
}

fn names(record: Record) -> [&'static str; 3] {
    [record.name(), record.subject(), record.file_name()]
}

fn unknown(text: &str) -> CliError {
    let listed: Vec<&str> = Record::ALL.into_iter().map(Record::name).collect();
    let listed = listed.join(", ");
    let help = match nearest(text) {
        Some(meant) => format!("did you mean {meant}? The records are {listed}"),
        None => format!("the records are {listed}; a subject or the name of a schema file will do too"),
    };
    CliError::new("record-unknown", Exit::NotFound, format!("no record is called \"{text}\"")).help(help)
}

fn nearest(text: &str) -> Option<&'static str> {
    if text.len() > LONGEST {
        return None;
    }
    let text = text.to_lowercase();
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(&text, &name.to_lowercase());
    Record::ALL
        .into_iter()
        .flat_map(names)
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_three_names_and_a_slip_of_one_is_understood() {
        for name in ["TrialReported", "trial_reported", "ml.run.trial", "trialreported"] {
            assert_eq!(record(name).unwrap(), Record::TrialReported);
        }
        assert!(
            record("TrailReported").unwrap_err().help.unwrap().starts_with("did you mean TrialReported?")
        );
        assert!(record(&"x".repeat(10_000)).unwrap_err().help.unwrap().starts_with("the records are"));
    }

    #[test]
    fn a_version_is_named_by_its_number() {
        assert_eq!(version("TrialReported").unwrap().number, 2);
        assert_eq!(version("ml.run.trial:1").unwrap().number, 1);
        assert_eq!(version("trial_reported:v2").unwrap().number, 2);
        for text in ["TrialReported:9", "TrialReported:", "TrialReported:v"] {
            assert_eq!(version(text).unwrap_err().exit, Exit::NotFound);
        }
    }
}

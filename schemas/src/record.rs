//! The records: which subject carries which, and the versions of the schema that governs it.
//!
//! Every version that was ever published stays, side by side (`avro/<record>.v<N>.avsc`); what this build writes is the
//! last one. All versions read each other ([`crate::evolution`]), so the type of an event (`ce-type`) does not change
//! with them: it names the [`GENERATION`], its data schema names the version.

use std::sync::LazyLock;

use apache_avro::Schema;

pub use crate::fingerprint::Fingerprint;
use crate::shape::{self, Shape};

/// Generation of the contract, the `v1` in `ce-type`. A change that old readers cannot take would be another
/// generation, on other subjects; no version of a schema is.
pub const GENERATION: u32 = 1;

/// The kinds of event there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "documented in their schemas")]
pub enum Record {
    RunRequested,
    RunCancelRequested,
    RunStarted,
    RunCompleted,
    RunFailed,
    RunCancelled,
    RunInterrupted,
    MlRunStarted,
    MlRunFinalized,
    TrialReported,
    MetricReported,
    RunException,
}

impl Record {
    /// Every record.
    pub const ALL: [Self; 12] = [
        Self::RunRequested,
        Self::RunCancelRequested,
        Self::RunStarted,
        Self::RunCompleted,
        Self::RunFailed,
        Self::RunCancelled,
        Self::RunInterrupted,
        Self::MlRunStarted,
        Self::MlRunFinalized,
        Self::TrialReported,
        Self::MetricReported,
        Self::RunException,
    ];

    /// Name of the record in its schema.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// The one subject that carries it.
    pub fn subject(self) -> &'static str {
        self.facts().1
    }

    /// Every version of its schema that was ever published, the oldest first.
    pub fn versions(self) -> &'static [Version] {
        &VERSIONS[self as usize]
    }

    /// The version this build writes.
    pub fn latest(self) -> &'static Version {
        self.versions().last().expect("every record has a version")
    }

    /// Fingerprint of the version this build writes.
    pub fn fingerprint(self) -> Fingerprint {
        self.latest().fingerprint
    }

    /// The record a subject carries.
    pub fn of_subject(subject: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|record| record.subject() == subject)
    }

    /// The record with a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|record| record.name() == name)
    }

    /// Its CloudEvents type, such as `cerebros.nas.run.started.v1`; the same for every version of its schema.
    pub fn ce_type(self) -> &'static str {
        self.latest().ce_type.as_str()
    }

    /// Its data schema as CloudEvents names it, such as `cerebros:RunStarted:1:88e1d842462425cb`.
    pub fn ce_dataschema(self) -> &'static str {
        self.latest().ce_dataschema.as_str()
    }

    /// Last word of the subject; part of the message id.
    pub fn kind(self) -> &'static str {
        self.subject().rsplit('.').next().expect("a split has at least one part")
    }

    /// Name of its files: `run_started` of `run_started.v1.avsc`.
    pub fn file_name(self) -> &'static str {
        self.facts().2
    }

    fn facts(self) -> (&'static str, &'static str, &'static str, &'static [&'static str]) {
        macro_rules! facts {
            ($($record:ident $subject:literal $file:literal [$($version:literal)*])*) => {
                match self {
                    $(Self::$record => (
                        stringify!($record),
                        $subject,
                        $file,
                        &[$(include_str!(concat!("../avro/", $file, ".v", $version, ".avsc"))),*],
                    ),)*
                }
            };
        }
        facts! {
            RunRequested "cerebros.nas.run.requested" "run_requested" [1 2]
            RunCancelRequested "cerebros.nas.run.cancel_requested" "run_cancel_requested" [1]
            RunStarted "cerebros.nas.run.started" "run_started" [1]
            RunCompleted "cerebros.nas.run.completed" "run_completed" [1]
            RunFailed "cerebros.nas.run.failed" "run_failed" [1]
            RunCancelled "cerebros.nas.run.cancelled" "run_cancelled" [1]
            RunInterrupted "cerebros.nas.run.interrupted" "run_interrupted" [1]
            MlRunStarted "ml.run.start" "ml_run_started" [1]
            MlRunFinalized "ml.run.stop" "ml_run_finalized" [1]
            TrialReported "ml.run.trial" "trial_reported" [1 2]
            MetricReported "ml.run.metric" "metric_reported" [1]
            RunException "ml.run.exception" "run_exception" [1]
        }
    }
}

/// One version of a record's schema.
#[derive(Debug)]
pub struct Version {
    /// The record.
    pub record: Record,
    /// Its number, from 1.
    pub number: u32,
    /// The text of the schema, as it was published.
    pub text: &'static str,
    /// The text, read.
    pub shape: Shape,
    /// CRC-64-AVRO of its canonical form: what this build writes.
    pub fingerprint: Fingerprint,
    /// Another fingerprint it is read under; see [`shape::Parsed`].
    pub library_fingerprint: Option<Fingerprint>,
    schema: Schema,
    ce_type: String,
    ce_dataschema: String,
}

impl Version {
    /// The version with a fingerprint, if this build was made with it.
    pub fn of_fingerprint(fingerprint: Fingerprint) -> Option<&'static Self> {
        VERSIONS.iter().flatten().find(|version| {
            version.fingerprint == fingerprint || version.library_fingerprint == Some(fingerprint)
        })
    }

    /// Every version of every record.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        VERSIONS.iter().flatten()
    }

    /// The data schema as CloudEvents names it, such as `cerebros:RunStarted:1:88e1d842462425cb`.
    pub fn ce_dataschema(&self) -> &str {
        &self.ce_dataschema
    }

    /// True if this build writes it.
    pub fn is_latest(&self) -> bool {
        std::ptr::eq(self, self.record.latest())
    }

    /// The Avro library's form of it.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    fn compile(record: Record, number: u32, text: &'static str) -> Self {
        let (parsed, schema) =
            shape::parse_with_schema(text).expect("the embedded schemas are read by a test");
        let shape::Parsed { shape, fingerprint, library_fingerprint } = parsed;
        Self {
            record,
            number,
            text,
            shape,
            fingerprint,
            library_fingerprint,
            schema,
            ce_type: format!("{}.v{GENERATION}", record.subject()),
            ce_dataschema: format!("cerebros:{}:{number}:{fingerprint}", record.name()),
        }
    }
}

static VERSIONS: LazyLock<Vec<Vec<Version>>> = LazyLock::new(|| {
    let versions = |record: Record| {
        (1..).zip(record.facts().3).map(|(number, text)| Version::compile(record, number, text)).collect()
    };
    Record::ALL.into_iter().map(versions).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_read_bears_its_record_s_name_and_has_a_fingerprint_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for version in Version::all() {
            let record = version.record;
            assert_eq!(version.shape.as_record().unwrap().name, format!("cerebros.events.{}", record.name()));
            assert!(seen.insert(version.fingerprint));
            assert!(version.library_fingerprint.is_none_or(|other| seen.insert(other)));
            assert!(std::ptr::eq(Version::of_fingerprint(version.fingerprint).unwrap(), version));
            assert_eq!(Fingerprint::parse(&version.fingerprint.to_string()), Some(version.fingerprint));
            assert_eq!(Record::of_subject(record.subject()), Some(record));
            assert_eq!(Record::of_name(record.name()), Some(record));
        }
    }

    #[test]
    fn every_schema_file_is_a_version_and_every_version_a_file() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("avro");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut versions: Vec<String> = Version::all()
            .map(|version| format!("{}.v{}.avsc", version.record.file_name(), version.number))
            .collect();
        versions.sort();
        assert_eq!(files, versions);
    }

    #[test]
    fn all_lists_the_records_in_the_order_of_their_numbers() {
        for (index, record) in Record::ALL.into_iter().enumerate() {
            assert_eq!(record as usize, index);
        }
    }
}

//! The records: which subject carries which, and the schema that governs it.

use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;

/// Version of every record this build writes.
pub const VERSION: u32 = 1;

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

    /// Text of its schema.
    pub fn schema_text(self) -> &'static str {
        self.facts().2
    }

    /// The record a subject carries.
    pub fn of_subject(subject: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|record| record.subject() == subject)
    }

    /// The record with a fingerprint this build knows.
    pub fn of_fingerprint(fingerprint: Fingerprint) -> Option<Self> {
        Self::ALL.into_iter().find(|record| record.fingerprint() == fingerprint)
    }

    /// Its CloudEvents type, such as `cerebros.nas.run.started.v1`.
    pub fn ce_type(self) -> String {
        format!("{}.v{VERSION}", self.subject())
    }

    /// Its data schema as CloudEvents names it, such as `cerebros:RunStarted:1:88e1d842462425cb`.
    pub fn ce_dataschema(self) -> String {
        format!("cerebros:{}:{VERSION}:{}", self.name(), self.fingerprint())
    }

    /// Last word of the subject; part of the message id.
    pub fn kind(self) -> &'static str {
        self.subject().rsplit('.').next().expect("a split has at least one part")
    }

    /// Its parsed schema.
    pub fn schema(self) -> &'static Schema {
        &COMPILED[self as usize].0
    }

    /// CRC-64-AVRO of the canonical form of its schema.
    pub fn fingerprint(self) -> Fingerprint {
        COMPILED[self as usize].1
    }

    fn facts(self) -> (&'static str, &'static str, &'static str) {
        macro_rules! facts {
            ($($record:ident $subject:literal $file:literal)*) => {
                match self {
                    $(Self::$record => (stringify!($record), $subject, include_str!(concat!("../avro/", $file, ".v1.avsc"))),)*
                }
            };
        }
        facts! {
            RunRequested "cerebros.nas.run.requested" "run_requested"
            RunCancelRequested "cerebros.nas.run.cancel_requested" "run_cancel_requested"
            RunStarted "cerebros.nas.run.started" "run_started"
            RunCompleted "cerebros.nas.run.completed" "run_completed"
            RunFailed "cerebros.nas.run.failed" "run_failed"
            RunCancelled "cerebros.nas.run.cancelled" "run_cancelled"
            RunInterrupted "cerebros.nas.run.interrupted" "run_interrupted"
            MlRunStarted "ml.run.start" "ml_run_started"
            MlRunFinalized "ml.run.stop" "ml_run_finalized"
            TrialReported "ml.run.trial" "trial_reported"
            MetricReported "ml.run.metric" "metric_reported"
            RunException "ml.run.exception" "run_exception"
        }
    }
}

static COMPILED: LazyLock<Vec<(Schema, Fingerprint)>> = LazyLock::new(|| {
    let compile = |record: Record| {
        let schema =
            Schema::parse_str(record.schema_text()).expect("the embedded schemas are parsed by a test");
        let bytes = schema.fingerprint::<Rabin>().bytes;
        let fingerprint = Fingerprint(bytes.try_into().expect("CRC-64 has eight bytes"));
        (schema, fingerprint)
    };
    Record::ALL.into_iter().map(compile).collect()
});

/// CRC-64-AVRO fingerprint of a schema, in the byte order of the single-object header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 8]);

impl std::fmt::Display for Fingerprint {
    /// Hex, most significant digit first, as Avro's own tools print it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", u64::from_le_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_parses_bears_its_record_s_name_and_has_a_fingerprint_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for record in Record::ALL {
            let Schema::Record(schema) = record.schema() else { panic!("{} is no record", record.name()) };
            assert_eq!(schema.name.name(), record.name());
            assert!(seen.insert(record.fingerprint()));
            assert_eq!(Record::of_subject(record.subject()), Some(record));
            assert_eq!(Record::of_fingerprint(record.fingerprint()), Some(record));
        }
    }

    #[test]
    fn all_lists_the_records_in_the_order_of_their_numbers() {
        for (index, record) in Record::ALL.into_iter().enumerate() {
            assert_eq!(record as usize, index);
        }
    }
}

//! The recorded examples of every record's latest version, built in.

use schemas::Record;

/// A complete example of a record, as JSON text.
pub(super) fn full(record: Record) -> &'static str {
    of(record).0
}

/// An example of a record with nothing but what is required, as JSON text.
pub(super) fn minimal(record: Record) -> &'static str {
    of(record).1
}

fn of(record: Record) -> (&'static str, &'static str) {
    macro_rules! corpus {
        ($($record:ident $folder:literal)*) => {
            match record {
                $(Record::$record => (
                    include_str!(concat!("../../../schemas/golden/", $folder, "/full.json")),
                    include_str!(concat!("../../../schemas/golden/", $folder, "/minimal.json")),
                ),)*
            }
        };
    }
    corpus! {
        RunRequested "run_requested.v2"
        RunCancelRequested "run_cancel_requested.v1"
        RunStarted "run_started.v1"
        RunCompleted "run_completed.v1"
        RunFailed "run_failed.v1"
        RunCancelled "run_cancelled.v1"
        RunInterrupted "run_interrupted.v1"
        MlRunStarted "ml_run_started.v1"
        MlRunFinalized "ml_run_finalized.v1"
        TrialReported "trial_reported.v2"
        MetricReported "metric_reported.v1"
        RunException "run_exception.v1"
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_examples_are_those_of_the_latest_version() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden");
        for record in Record::ALL {
            let folder = golden.join(format!("{}.v{}", record.file_name(), record.latest().number));
            for (text, name) in [(full(record), "full.json"), (minimal(record), "minimal.json")] {
                assert_eq!(text, std::fs::read_to_string(folder.join(name)).unwrap(), "{}", record.name());
            }
        }
    }
}

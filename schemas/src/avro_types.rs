//! The schema each Rust type would have by itself, held against the file that governs it.
//!
//! For tests alone: the files are the contract, the types follow. What the derived schemas cannot know (docs, defaults,
//! logical types) is no part of a fingerprint.

use std::collections::HashSet;

use apache_avro::schema::{Name, NamespaceRef, RecordField};
use apache_avro::serde::AvroSchemaComponent;
use apache_avro::{AvroSchema, Schema};

use crate::event::{
    MetricReported, MlRunFinalized, MlRunStarted, RunCancelRequested, RunCancelled, RunCompleted,
    RunException, RunFailed, RunInterrupted, RunRequested, RunStarted, TrialReported,
};
use crate::{Json, Real, Record, RunId, Timestamp, TrialId};

macro_rules! written_as {
    ($($kind:ty => $schema:ident)*) => {$(
        impl AvroSchemaComponent for $kind {
            fn get_schema_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
                Schema::$schema
            }

            fn get_record_fields_in_ctxt(_: &mut HashSet<Name>, _: NamespaceRef) -> Option<Vec<RecordField>> {
                None
            }
        }
    )*};
}
written_as! { Real => Double  Timestamp => Long  Json => String  RunId => String  TrialId => String }

pub(crate) fn doubles_by_name(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
    Schema::map(Schema::Double).build()
}

pub(crate) fn texts_by_name(_: &mut HashSet<Name>, _: NamespaceRef) -> Schema {
    Schema::map(Schema::String).build()
}

#[test]
fn every_type_has_the_fingerprint_of_the_latest_version_of_its_file() {
    fn derived<T: AvroSchema>() -> String {
        serde_json::to_string(&T::get_schema()).unwrap()
    }
    let types: [(Record, String); 12] = [
        (Record::RunRequested, derived::<RunRequested>()),
        (Record::RunCancelRequested, derived::<RunCancelRequested>()),
        (Record::RunStarted, derived::<RunStarted>()),
        (Record::RunCompleted, derived::<RunCompleted>()),
        (Record::RunFailed, derived::<RunFailed>()),
        (Record::RunCancelled, derived::<RunCancelled>()),
        (Record::RunInterrupted, derived::<RunInterrupted>()),
        (Record::MlRunStarted, derived::<MlRunStarted>()),
        (Record::MlRunFinalized, derived::<MlRunFinalized>()),
        (Record::TrialReported, derived::<TrialReported>()),
        (Record::MetricReported, derived::<MetricReported>()),
        (Record::RunException, derived::<RunException>()),
    ];
    for ((record, derived), known) in types.into_iter().zip(Record::ALL) {
        assert_eq!(record, known);
        let fingerprint = crate::shape::parse(&derived).unwrap().fingerprint;
        assert_eq!(fingerprint, record.fingerprint(), "{}", record.name());
    }
}

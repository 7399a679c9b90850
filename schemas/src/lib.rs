//! The contract: what may be said on the broker, and how it is written.
//!
//! Everything anyone may rely on when they publish to us or listen to us lives here: the Avro schemas
//! (`avro/*.avsc`, embedded), the Rust types of every record, both encodings (JSON and Avro single-object),
//! the CloudEvents envelope, the subjects, the failure classes and the order in which the events of a run may
//! follow each other.
//!
//! Invariants:
//! - pure: no clock, no randomness, no input or output; `Cargo.toml` proves it;
//! - one decision in one place: a subject belongs to exactly one [`Record`], a record to exactly one schema;
//! - every decoder is bounded: input size, nesting, collections (see [`codec`]);
//! - what encodes decodes to the same meaning in both encodings, NaN and infinities included.
//!
//! Deliberately not here: talking to the broker (`service-kit`), deciding what a search does (`search`).

#[cfg(test)]
mod avro_types;
pub mod cloudevents;
pub mod codec;
pub mod dataset;
pub mod dead_letter;
pub mod event;
pub mod evolution;
pub mod expiry;
pub mod failure;
mod fingerprint;
mod headers;
pub mod ids;
pub mod json_schema;
mod json_text;
pub mod lifecycle;
mod limits;
pub mod ordered_json;
mod real;
pub mod record;
pub mod resolution;
mod rule;
pub mod shape;
pub mod subject;
mod timestamp;

pub use codec::{Decoded, Encoding};
pub use event::Event;
pub use failure::{Failure, FailureClass, Origin, Stage};
pub use ids::{RunId, TrialId};
pub use json_text::Json;
pub use real::Real;
pub use record::Record;
pub use timestamp::Timestamp;

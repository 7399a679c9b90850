//! Schema resolution: what one version of a schema wrote, read by another.
//!
//! The Avro library resolves through a tree of values, fills in null where a payload ends early, and ignores field
//! aliases. Here the bytes of the writer are rewritten into the bytes the reader's own schema would have produced:
//! fields are put in the reader's order, unknown ones are skipped, missing ones get their default. What comes out is
//! decoded on the same path as everything else.
//!
//! Invariants:
//! - a payload that ends early, or goes on behind its value, is refused with the place where it did;
//! - the work is bounded by [`MAX_STEPS`], the result by that of the largest event, whatever the schemas are;
//! - what [`Resolution::new`] accepts, it resolves: the rules of compatibility and the reading are one decision.

mod cursor;
mod plan;
mod walk;

use crate::shape::Shape;

use cursor::Cursor;
pub use cursor::WalkError;
pub use plan::{Mismatch, MismatchKind};
pub(crate) use walk::{MAX_STEPS, skip_whole};

/// How to read what a writer's schema wrote with a reader's schema.
#[derive(Debug, Clone)]
pub struct Resolution {
    plan: plan::Plan,
}

impl Resolution {
    /// Plans it.
    ///
    /// # Errors
    /// Everything in which the reader cannot read the writer, in the order of the schema.
    pub fn new(writer: &Shape, reader: &Shape) -> Result<Self, Vec<Mismatch>> {
        plan::plan(writer, reader).map(|plan| Self { plan })
    }

    /// The reader's bytes for a datum of the writer's.
    ///
    /// # Errors
    /// Where and how the datum is broken.
    pub fn resolve(&self, datum: &[u8]) -> Result<Vec<u8>, WalkError> {
        let mut cursor = Cursor::new(datum, MAX_STEPS);
        let mut out = Vec::with_capacity(datum.len() + 64);
        walk::rewrite(&self.plan, &mut cursor, &mut out)?;
        cursor.end()?;
        Ok(out)
    }
}

//! The wall clock, read in one place.
//!
//! Decisions take the time as an argument; whoever acts on them asks here. Deadlines and durations belong to the
//! runtime's monotonic clock, not to this one.

use schemas::Timestamp;

/// The present moment in UTC.
pub fn now() -> Timestamp {
    Timestamp::from(time::OffsetDateTime::now_utc())
}

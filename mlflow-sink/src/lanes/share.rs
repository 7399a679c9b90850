//! What runs that cannot be written may hold: all of them together no more than one may, so that they leave room for the
//! others however many they are.

use super::{MAX_STUCK, MAX_STUCK_BYTES};

/// So many events and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Share {
    /// What all of them may hold together.
    pub(super) const ALL: Self = Self { events: MAX_STUCK, bytes: MAX_STUCK_BYTES };
    /// Nothing at all.
    pub(super) const NONE: Self = Self { events: 0, bytes: 0 };

    /// What each of so many may hold.
    pub(super) fn of(runs: usize) -> Self {
        let runs = runs.max(1);
        Self { events: (MAX_STUCK / runs).max(1), bytes: MAX_STUCK_BYTES / runs }
    }

    /// With one event more.
    pub(super) fn with(self, bytes: usize) -> Self {
        Self { events: self.events + 1, bytes: self.bytes + bytes }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { events: self.events + other.events, bytes: self.bytes + other.bytes }
    }

    pub(super) fn fits_into(self, other: Self) -> bool {
        self.events <= other.events && self.bytes <= other.bytes
    }
}

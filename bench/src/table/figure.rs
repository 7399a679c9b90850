//! A measured figure and its unit.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// So many a second.
    PerSecond,
    /// Megabytes of 2^20 bytes.
    Megabytes,
    /// Just a number.
    Count,
    /// Hundredths of the whole.
    Percent,
    /// Promises that were not kept.
    Broken,
}

/// A measured figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Figure {
    value: f64,
    unit: Unit,
}

impl Figure {
    /// A figure.
    pub(crate) const fn new(value: f64, unit: Unit) -> Self {
        Self { value, unit }
    }

    /// A duration in microseconds.
    pub(crate) fn micros(took: Duration) -> Self {
        Self::new(took.as_secs_f64() * 1e6, Unit::Microseconds)
    }

    /// A duration in milliseconds.
    pub(crate) fn millis(took: Duration) -> Self {
        Self::new(took.as_secs_f64() * 1e3, Unit::Milliseconds)
    }

    /// A duration in seconds.
    pub(crate) fn seconds(took: Duration) -> Self {
        Self::new(took.as_secs_f64(), Unit::Seconds)
    }

    /// The larger of two figures of one unit.
    pub(crate) fn max(self, other: Self) -> Self {
        if other.value > self.value { other } else { self }
    }

    /// The value in the base of its unit: seconds for every duration.
    pub(super) fn in_base(self) -> f64 {
        match self.unit {
            Unit::Microseconds => self.value * 1e-6,
            Unit::Milliseconds => self.value * 1e-3,
            Unit::Seconds
            | Unit::PerSecond
            | Unit::Megabytes
            | Unit::Count
            | Unit::Percent
            | Unit::Broken => self.value,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unit == Unit::Broken {
            return write!(f, "{:.0} broken", self.value);
        }
        let unit = match self.unit {
            Unit::Microseconds => " us",
            Unit::Milliseconds => " ms",
            Unit::Seconds => " s",
            Unit::PerSecond => "/s",
            Unit::Megabytes => " MB",
            Unit::Percent => " %",
            Unit::Count | Unit::Broken => "",
        };
        write!(f, "{}{unit}", three_digits(self.value))
    }
}

/// Enough digits to compare by, not more than were measured.
pub(super) fn three_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

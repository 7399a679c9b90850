//! Sizes as people write them: `2GiB`, `512 MiB`, `1.5GB`, `1048576`.

use std::fmt;
use std::str::FromStr;

/// Units by their names in lower case; the short ones are those of Kubernetes.
const UNITS: [(&str, u64); 13] = [
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("ki", 1 << 10),
    ("mib", 1 << 20),
    ("mi", 1 << 20),
    ("gib", 1 << 30),
    ("gi", 1 << 30),
    ("tib", 1 << 40),
    ("ti", 1 << 40),
];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Size(pub u64);

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSize {
    /// Not a number with a unit.
    #[error("not a size; write a number of bytes, or one with KiB, MiB, GiB or TiB, such as 2GiB")]
    Unreadable,
    /// Below what makes sense.
    #[error("too small; at least {least} are needed")]
    TooSmall {
        /// The least.
        least: Size,
    },
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidSize::Unreadable)?;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(*bytes).map(Self).ok_or(InvalidSize::Unreadable);
        }
        let part: f64 = number.parse().map_err(|_| InvalidSize::Unreadable)?;
        let size = part * *bytes as f64;
        // Far below where a double skips whole numbers, and more than any machine has.
        if size < (1_u64 << 50) as f64 { Ok(Self(size as u64)) } else { Err(InvalidSize::Unreadable) }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(bytes, _)| self.0 >= *bytes) {
            None => write!(f, "{} bytes", self.0),
            Some((bytes, unit)) if self.0.is_multiple_of(bytes) => write!(f, "{} {unit}", self.0 / bytes),
            Some((bytes, unit)) => write!(f, "{:.1} {unit}", self.0 as f64 / bytes as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("2GiB", 2 << 30),
            ("2gi", 2 << 30),
            (" 512 MiB ", 512 << 20),
            ("1.5GB", 1_500_000_000),
            ("64KB", 64_000),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in ["", "GiB", "2 gigs", "-1", "1.2.3MiB", "99999999999999999999", "1e99", "9999999.5TiB"] {
            let error = text.parse::<Size>().unwrap_err();
            assert!(error.to_string().contains("2GiB"), "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_in_the_largest_unit_it_fills() {
        let shown = [5, 1 << 10, 1_600_000_000, 3 << 40].map(|bytes| Size(bytes).to_string());
        assert_eq!(shown, ["5 bytes", "1 KiB", "1.5 GiB", "3 TiB"]);
    }
}

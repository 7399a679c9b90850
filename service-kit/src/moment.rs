//! A point in time as it is typed.

use schemas::Timestamp;

/// A point in time as it was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A moment.
    At(Timestamp),
    /// So many microseconds before now.
    Ago(i64),
}

impl Moment {
    /// The moment, seen from now.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Ago(micros) => Timestamp::from_micros(now.micros().saturating_sub(micros)),
        }
    }
}

/// Reads a time such as 2026-01-31T12:00:00Z, or a while ago such as 2h.
///
/// # Errors
/// When it is neither.
pub fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Ok(moment) = Timestamp::parse(text) {
        return Ok(Moment::At(moment));
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "expected a time such as 2026-01-31T12:00:00Z or a while such as 2h".to_owned())?;
    Ok(Moment::Ago(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_a_while_ago() {
        let now = Timestamp::from_micros(10_000_000);
        let resolved = |text: &str| parse_moment(text).map(|moment| moment.resolve(now).micros());
        assert_eq!(resolved("3s"), Ok(7_000_000));
        assert_eq!(resolved("1970-01-01T00:00:01Z"), Ok(1_000_000));
        assert!(resolved("yesterday").is_err());
    }
}

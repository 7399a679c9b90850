//! Until when a request is wanted: a while from now on the command line, a point in time on the wire.

use std::time::Duration;

use schemas::Timestamp;
use schemas::cloudevents::header;
use service_kit::clock;
use service_kit::publish::Outgoing;

/// Longest while: far beyond what a stream keeps, and a typing error above it.
const MAX_WHILE: Duration = Duration::from_secs(366 * 24 * 3600);

/// The flag of whatever asks for a run.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct ExpiryArgs {
    /// Only if a worker takes the request within this while, such as 1h; later it fails as expired [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = parse_while)]
    pub expires: Option<Duration>,
}

impl ExpiryArgs {
    /// When a request that goes out now is no longer wanted.
    pub(crate) fn until(self) -> Option<Timestamp> {
        self.expires.map(|wanted| after(clock::now(), wanted))
    }
}

/// Says so in a message.
pub(crate) fn say(message: &mut Outgoing, expires: Option<Timestamp>) {
    if let Some(expires) = expires {
        message.headers.insert(header::EXPIRY, expires.to_string());
    }
}

fn after(now: Timestamp, wanted: Duration) -> Timestamp {
    let wanted = i64::try_from(wanted.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.micros().saturating_add(wanted))
}

fn parse_while(text: &str) -> Result<Duration, String> {
    let wanted = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if wanted.is_zero() || wanted > MAX_WHILE {
        return Err("expected a duration above zero, up to a year".to_owned());
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_while_is_above_zero_and_up_to_a_year() {
        assert_eq!(parse_while("90min"), Ok(Duration::from_secs(5400)));
        assert!(parse_while("1y").is_ok());
        for bad in ["", "0s", "-1h", "tomorrow", "2026-01-31T12:00:00Z", "2y"] {
            assert!(parse_while(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_while_from_now_is_a_point_in_time() {
        let noon = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(after(noon, Duration::from_secs(5400)).to_string(), "2026-01-31T13:30:00Z");
        assert!(ExpiryArgs::default().until().is_none());
    }
}

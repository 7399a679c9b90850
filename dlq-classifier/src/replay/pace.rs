//! How fast a bulk replay goes.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

const EXPECTED: &str = "expected messages a second from 0.001 to 1000000, such as 50 or 50/s";

/// Messages a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "f64")]
pub struct Rate(f64);

impl From<Rate> for f64 {
    fn from(Rate(rate): Rate) -> Self {
        rate
    }
}

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        if (0.001..=1e6).contains(&rate) { Ok(Self(rate)) } else { Err(EXPECTED.to_owned()) }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("/s").unwrap_or(text).trim();
        number.parse::<f64>().map_err(|_| EXPECTED.to_owned()).and_then(Self::try_from)
    }
}

impl Rate {
    /// The time between two messages.
    pub(crate) fn apart(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0)
    }

    /// How many go out in a second, at least one.
    pub(super) fn in_a_second(self) -> usize {
        // Between one and a million.
        self.0.max(1.0) as usize
    }
}

/// Waits between messages, so that no more than the rate go out.
pub(super) struct Pace {
    ticks: Option<Interval>,
}

impl Pace {
    /// The first message goes after a wait of its own.
    pub(super) fn new(rate: Option<Rate>, wait: Duration) -> Self {
        let ticks = rate.map(|rate| {
            let mut ticks = interval_at(Instant::now() + wait, rate.apart());
            // A slow broker is not made up for by a burst.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { ticks }
    }

    /// A message goes now, later than its time had come: the next is as far from it as from any other.
    pub(super) fn restart(&mut self) {
        if let Some(ticks) = &mut self.ticks {
            ticks.reset();
        }
    }

    /// Waits until the next message may go. Cancel safe.
    pub(super) async fn wait(&mut self) {
        if let Some(ticks) = &mut self.ticks {
            ticks.tick().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_with_or_without_its_unit() {
        assert_eq!("50".parse(), Ok(Rate(50.0)));
        assert_eq!("0.5/s".parse(), Ok(Rate(0.5)));
        for bad in ["", "0", "-1", "fast", "1/m", "NaN", "inf"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_rate_go_out() {
        let begin = tokio::time::Instant::now();
        let mut pace = Pace::new(Some(Rate(10.0)), Duration::from_millis(30));
        for _ in 0..11 {
            pace.wait().await;
        }
        assert_eq!(begin.elapsed().as_millis(), 1030);
    }
}

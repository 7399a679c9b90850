//! How fast a bulk replay goes.

use std::str::FromStr;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Messages a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(f64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("/s").unwrap_or(text).trim();
        match number.parse::<f64>() {
            Ok(rate) if (0.001..=1e6).contains(&rate) => Ok(Self(rate)),
            Ok(_) | Err(_) => {
                Err("expected messages a second from 0.001 to 1000000, such as 50 or 50/s".to_owned())
            }
        }
    }
}

/// Waits between messages, so that no more than the rate go out.
pub(super) struct Pace {
    ticks: Option<Interval>,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        let ticks = rate.map(|Rate(rate)| {
            let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
            // A slow broker is not made up for by a burst.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { ticks }
    }

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
        let mut pace = Pace::new(Some(Rate(10.0)));
        for _ in 0..11 {
            pace.wait().await;
        }
        assert_eq!(begin.elapsed().as_millis(), 1000);
    }
}

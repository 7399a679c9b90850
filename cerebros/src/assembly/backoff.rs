//! How long to wait before a program that died is started again. Pure.

use std::time::Duration;

/// Pause after the first death.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause: somebody who repairs the cause should not wait long for the effect.
const LONGEST: Duration = Duration::from_secs(30);
/// A program that lived this long had recovered; its next death is a first one.
const RECOVERED: Duration = Duration::from_secs(60);

/// The pauses of one program: doubling from half a second to half a minute.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The pause after a death, given how long the program had lived.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= RECOVERED {
            self.deaths = 0;
        }
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(self.deaths)).min(LONGEST);
        self.deaths = self.deaths.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute_and_stay_there() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..100).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses[..7], [500, 1000, 2000, 4000, 8000, 16_000, 30_000]);
        assert!(pauses[7..].iter().all(|pause| *pause == 30_000));
    }

    #[test]
    fn a_program_that_lived_for_a_minute_starts_from_the_beginning() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.after(Duration::from_secs(59));
        }
        assert_eq!(backoff.after(Duration::from_secs(60)), FIRST);
        assert_eq!(backoff.after(Duration::from_secs(1)), FIRST * 2);
    }
}

//! The pause a server asks for with `Retry-After`: seconds, or a date in HTTP's usual form (IMF-fixdate).

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use schemas::Timestamp;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Longest pause a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
const IMF_FIXDATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// The pause an answer asks for; none when it asks for none, or in a way nobody understands.
pub(in crate::client) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let due = PrimitiveDateTime::parse(text, IMF_FIXDATE).ok()?.assume_utc();
            // A date that has passed asks for nothing more.
            Duration::try_from(due - OffsetDateTime::from(now)).unwrap_or_default()
        }
    };
    Some(asked.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let now = Timestamp::from(datetime!(2026-10-21 07:27:30 UTC));
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]), now)
    }

    #[test]
    fn a_server_asks_for_a_pause_in_seconds_or_until_a_date() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Wed, 21 Oct 2026 07:28:00 GMT"), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_pause_is_never_for_ever_and_never_in_the_past() {
        assert_eq!(asked("999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(asked("Wed, 21 Oct 2099 07:28:00 GMT"), Some(MAX_RETRY_AFTER));
        assert_eq!(asked("Wed, 21 Oct 2020 07:28:00 GMT"), Some(Duration::ZERO));
    }

    #[test]
    fn what_nobody_understands_asks_for_nothing() {
        for value in ["", "soon", "-1", "1.5", "Wed, 21 Oct 2026"] {
            assert_eq!(asked(value), None, "{value}");
        }
    }
}

//! Whether children are worth trying to start. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// How long children are not tried again after they did not start: trying costs every trial seconds.
const RESPITE: Duration = Duration::from_secs(60);

/// What is known of children that did not start.
#[derive(Debug, Default)]
pub(super) struct Fallback(Option<(Instant, String)>);

impl Fallback {
    /// Children did not start at `now`, and why.
    pub(super) fn fall(&mut self, now: Instant, why: String) {
        self.0 = Some((now, why));
    }

    /// One has started.
    pub(super) fn over(&mut self) {
        self.0 = None;
    }

    /// Why they are not to be tried now; `None` when they are.
    pub(super) fn reason(&self, now: Instant) -> Option<String> {
        let (since, why) = self.0.as_ref()?;
        (now.saturating_duration_since(*since) < RESPITE).then(|| why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_that_did_not_start_are_tried_again_after_a_respite() {
        let (mut fallback, began) = (Fallback::default(), Instant::now());
        assert_eq!(fallback.reason(began), None);
        fallback.fall(began, "broken".to_owned());
        assert_eq!(fallback.reason(began + RESPITE / 2).as_deref(), Some("broken"));
        assert_eq!(fallback.reason(began + RESPITE), None);
        fallback.over();
        assert_eq!(fallback.reason(began), None);
    }
}

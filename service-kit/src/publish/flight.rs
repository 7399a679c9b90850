//! Which messages of a call are on the way, which failed, and which are confirmed. Pure.
//!
//! Messages leave in the order of their numbers. After a failure none leaves until all that were on the way are
//! settled, so that an outage disturbs the order within one window at most.

use super::Published;
use super::acks::Answer;

/// Messages of one call that may be on the way at once: enough to keep the broker busy over a round trip, and few
/// enough to stay below every buffer between us and it.
pub(super) const WINDOW: usize = 1024;
/// Payload bytes that may be on the way at once: a broker drops what comes faster than it can take in beyond 128 MiB,
/// and has other publishers than us.
pub(super) const WINDOW_BYTES: usize = 8 << 20;

/// What is known about a message that left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing yet; its payload has so many bytes.
    OnTheWay(usize),
    /// It was refused, or no answer came: it has to be repeated.
    Failed,
    Confirmed(Published),
}

/// The messages of one call.
#[derive(Debug)]
pub(super) struct Flight {
    count: usize,
    /// Of every message that left, in order.
    outcomes: Vec<Outcome>,
    /// All before this one are confirmed.
    oldest: usize,
    on_the_way: usize,
    bytes_on_the_way: usize,
    failures: usize,
}

impl Flight {
    /// So many messages, none of which has left.
    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            outcomes: Vec::with_capacity(count),
            oldest: 0,
            on_the_way: 0,
            bytes_on_the_way: 0,
            failures: 0,
        }
    }

    /// The message that may leave now.
    pub(super) fn next(&self) -> Option<usize> {
        let next = self.outcomes.len();
        let has_room = next - self.oldest < WINDOW && self.bytes_on_the_way < WINDOW_BYTES;
        (next < self.count && has_room && self.failures == 0).then_some(next)
    }

    /// No further message leaves: those that have are all.
    pub(super) fn ends_here(&mut self) {
        self.count = self.outcomes.len();
    }

    /// The message that [`Flight::next`] named is on the way, with a payload of this size.
    pub(super) fn left(&mut self, bytes: usize) {
        self.outcomes.push(Outcome::OnTheWay(bytes));
        self.on_the_way += 1;
        self.bytes_on_the_way += bytes;
    }

    /// Takes an answer, or a confirmation that was got in another way. A message stays confirmed, whatever comes later.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Some(outcome) = self.outcomes.get_mut(answer.number) else { return };
        match outcome {
            Outcome::OnTheWay(bytes) => {
                self.on_the_way -= 1;
                self.bytes_on_the_way -= *bytes;
            }
            Outcome::Failed => self.failures -= 1,
            Outcome::Confirmed(_) => return,
        }
        *outcome = match answer.confirmed {
            Some(published) => Outcome::Confirmed(published),
            None => Outcome::Failed,
        };
        self.failures += usize::from(*outcome == Outcome::Failed);
        while matches!(self.outcomes.get(self.oldest), Some(Outcome::Confirmed(_))) {
            self.oldest += 1;
        }
    }

    /// No further answer is expected: what is on the way has failed.
    pub(super) fn fell_silent(&mut self) {
        for outcome in &mut self.outcomes[self.oldest..] {
            if matches!(outcome, Outcome::OnTheWay(_)) {
                *outcome = Outcome::Failed;
            }
        }
        self.failures += std::mem::take(&mut self.on_the_way);
        self.bytes_on_the_way = 0;
    }

    /// True while there is something to wait for.
    pub(super) fn is_waiting(&self) -> bool {
        self.on_the_way > 0
    }

    /// The first message that has to be repeated.
    pub(super) fn failed(&self) -> Option<usize> {
        let is_failed = |outcome: &Outcome| *outcome == Outcome::Failed;
        (self.failures > 0)
            .then(|| self.outcomes[self.oldest..].iter().position(is_failed))?
            .map(|at| at + self.oldest)
    }

    /// The confirmations in order, when every message has one.
    pub(super) fn finished(&self) -> Option<Vec<Published>> {
        let confirmed = |outcome: &Outcome| match outcome {
            Outcome::Confirmed(published) => Some(*published),
            Outcome::OnTheWay(_) | Outcome::Failed => None,
        };
        if self.oldest < self.count { None } else { self.outcomes.iter().map(confirmed).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(number: usize) -> Answer {
        let published = Published { sequence: 100 + number as u64, is_duplicate: false };
        Answer { number, confirmed: Some(published) }
    }

    fn lost(number: usize) -> Answer {
        Answer { number, confirmed: None }
    }

    /// Sends all that may leave; returns their numbers.
    fn send(flight: &mut Flight) -> Vec<usize> {
        std::iter::from_fn(|| flight.next().inspect(|_| flight.left(1))).collect()
    }

    #[test]
    fn messages_leave_in_order_and_a_confirmation_of_the_oldest_makes_room() {
        let mut flight = Flight::new(WINDOW + 2);
        assert_eq!(send(&mut flight), (0..WINDOW).collect::<Vec<_>>());
        flight.answered(stored(1));
        assert_eq!(flight.next(), None, "the oldest is still on the way");
        flight.answered(stored(0));
        assert_eq!(send(&mut flight), [WINDOW, WINDOW + 1]);
        (2..WINDOW + 2).for_each(|number| flight.answered(stored(number)));
        let sequences =
            flight.finished().unwrap().iter().map(|published| published.sequence).collect::<Vec<_>>();
        assert_eq!(sequences, (100..100 + WINDOW as u64 + 2).collect::<Vec<_>>());
    }

    #[test]
    fn after_a_failure_nothing_leaves_until_it_was_repeated() {
        let mut flight = Flight::new(WINDOW + 1);
        send(&mut flight);
        flight.answered(lost(0));
        assert_eq!((flight.next(), flight.failed(), flight.is_waiting()), (None, Some(0), true));
        (1..WINDOW).for_each(|number| flight.answered(stored(number)));
        assert!(!flight.is_waiting());
        assert_eq!(flight.next(), None);
        flight.answered(stored(0));
        assert_eq!((flight.failed(), flight.next()), (None, Some(WINDOW)));
    }

    #[test]
    fn large_messages_fill_the_window_before_their_number_does() {
        let mut flight = Flight::new(3);
        flight.left(WINDOW_BYTES - 1);
        assert_eq!(flight.next(), Some(1));
        flight.left(WINDOW_BYTES);
        assert_eq!(flight.next(), None);
        flight.answered(stored(1));
        assert_eq!(flight.next(), Some(2));
    }

    #[test]
    fn silence_fails_what_is_on_the_way_and_nothing_else() {
        let mut flight = Flight::new(3);
        send(&mut flight);
        flight.answered(stored(1));
        flight.fell_silent();
        assert_eq!(flight.failed(), Some(0));
        flight.answered(stored(0));
        assert_eq!(flight.failed(), Some(2));
        flight.answered(lost(1));
        flight.answered(stored(2));
        assert_eq!(flight.finished().map(|all| all.len()), Some(3), "a late refusal takes nothing back");
    }

    #[test]
    fn a_flight_that_ends_early_is_finished_when_what_has_left_is_confirmed() {
        let mut flight = Flight::new(3);
        flight.left(1);
        flight.ends_here();
        assert_eq!((flight.next(), flight.finished()), (None, None));
        flight.answered(stored(0));
        assert_eq!(flight.finished().map(|all| all.len()), Some(1));
    }

    #[test]
    fn an_answer_to_nothing_is_ignored_and_no_messages_are_finished_at_once() {
        let mut flight = Flight::new(0);
        flight.answered(stored(5));
        assert_eq!((flight.next(), flight.finished()), (None, Some(Vec::new())));
    }
}

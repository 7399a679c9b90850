//! What may only go on while this sink holds the lease, and this very time it holds it.
//!
//! Whoever works under the lease may be anywhere when it ends: in the middle of a batch or of a sweep. Behind the fence it
//! is not carried on by a single step once the lease has run out, however late it is woken.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::sleep_until;

/// One time the lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Term {
    /// Tells it from the times before.
    pub(crate) number: u64,
    /// Until when it is held without another word.
    pub(crate) until: Instant,
}

/// Knows of the terms.
#[derive(Debug, Clone)]
pub(crate) struct Terms(pub(crate) watch::Receiver<Option<Term>>);

impl Terms {
    /// The number of the present one, while the lease is held.
    pub(crate) fn present(&self) -> Option<u64> {
        self.0.borrow().filter(|term| Instant::now() < term.until).map(|term| term.number)
    }

    /// The fence of the present one.
    pub(crate) fn fence(&self) -> Option<Fence> {
        Some(Fence { terms: self.clone(), number: self.present()? })
    }
}

/// Ends with the term it was made in.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    terms: Terms,
    number: u64,
}

impl Fence {
    /// Carries on as long as the term lasts; `None` when it ended before the work, which is dropped then.
    pub(crate) async fn during<F: Future>(&self, work: F) -> Option<F::Output> {
        let (mut work, mut end) = (pin!(work), pin!(self.end()));
        poll_fn(|context| {
            // Asked before each step: a process that stood still wakes up in the middle of anything.
            if !self.stands() || end.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    fn stands(&self) -> bool {
        self.terms.present() == Some(self.number)
    }

    async fn end(&self) {
        let mut terms = self.terms.0.clone();
        loop {
            let until = terms.borrow_and_update().filter(|term| term.number == self.number);
            let Some(Term { until, .. }) = until.filter(|term| Instant::now() < term.until) else { return };
            tokio::select! {
                () = sleep_until(until.into()) => {}
                changed = terms.changed() => if changed.is_err() { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn term(number: u64, valid_for: Duration) -> Option<Term> {
        Some(Term { number, until: Instant::now() + valid_for })
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_goes_on_while_the_lease_is_renewed_and_ends_with_it() {
        let (said, terms) = watch::channel(term(1, LONG));
        let fence = Terms(terms).fence().unwrap();
        assert_eq!(fence.during(async { 7 }).await, Some(7));
        let ending = async {
            said.send(term(1, LONG)).unwrap();
            tokio::task::yield_now().await;
            said.send(None).unwrap();
            std::future::pending::<()>().await;
        };
        assert_eq!(fence.during(ending).await, None);
        assert_eq!(fence.during(async { 7 }).await, None, "nothing is begun behind it");
    }

    #[tokio::test]
    async fn a_later_term_brings_nothing_of_an_earlier_one_back() {
        let (said, terms) = watch::channel(term(1, LONG));
        let fence = Terms(terms.clone()).fence().unwrap();
        said.send(term(2, LONG)).unwrap();
        assert_eq!(fence.during(async { 7 }).await, None);
        assert!(Terms(terms).fence().is_some());
    }

    #[tokio::test]
    async fn a_lease_nobody_renews_ends_by_itself() {
        let (said, terms) = watch::channel(term(1, LONG));
        let fence = Terms(terms).fence().unwrap();
        said.send(term(1, Duration::from_millis(20))).unwrap();
        assert_eq!(fence.during(std::future::pending::<()>()).await, None);
    }
}

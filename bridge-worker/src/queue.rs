//! Who gets the next slot.
//!
//! Pure: the time is an argument. Runs take turns, whatever they ask for: a run that wants many slots waits behind one
//! that wants few as soon as it has had its turn. A request's `priority` goes before the turns, and waiting raises it by
//! one every [`AGEING`], so that nobody waits for ever. Within a run the trial that came first goes first.

use std::collections::BTreeMap;
use std::time::Duration;

/// Waiting time that counts as one step of priority.
pub const AGEING: Duration = Duration::from_secs(10);

/// A run in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(u64);

/// Trials that wait for a slot, by run.
#[derive(Debug)]
pub struct Queue<T> {
    members: BTreeMap<Member, Turns>,
    waiting: Vec<Waiting<T>>,
    next_member: u64,
    turn: u64,
}

#[derive(Debug)]
struct Turns {
    priority: i64,
    /// When it last had a turn; 0 before the first.
    last: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    member: Member,
    since: Duration,
    what: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { members: BTreeMap::new(), waiting: Vec::new(), next_member: 0, turn: 0 }
    }
}

impl<T> Queue<T> {
    /// Adds a run. Its first turn comes before the second of those that are there.
    pub fn join(&mut self, priority: i32) -> Member {
        let member = Member(self.next_member);
        self.next_member += 1;
        self.members.insert(member, Turns { priority: priority.into(), last: 0 });
        member
    }

    /// Removes a run and what still waits for it.
    pub fn leave(&mut self, member: Member) {
        self.members.remove(&member);
        self.waiting.retain(|waiting| waiting.member != member);
    }

    /// Lets something of a run wait from `now` on.
    pub fn wait(&mut self, member: Member, what: T, now: Duration) {
        self.waiting.push(Waiting { member, since: now, what });
    }

    /// Takes out who is next at `now`.
    pub fn next(&mut self, now: Duration) -> Option<T> {
        let rank = |index: &usize| {
            let waiting = &self.waiting[*index];
            let turns = self.members.get(&waiting.member);
            let age = now.saturating_sub(waiting.since).as_millis() / AGEING.as_millis();
            let priority =
                turns.map_or(0, |turns| turns.priority) + i64::try_from(age).unwrap_or(i64::MAX / 2);
            (std::cmp::Reverse(priority), turns.map_or(0, |turns| turns.last), waiting.member, *index)
        };
        let index = (0..self.waiting.len()).min_by_key(rank)?;
        let Waiting { member, what, .. } = self.waiting.remove(index);
        self.turn += 1;
        if let Some(turns) = self.members.get_mut(&member) {
            turns.last = self.turn;
        }
        Some(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn order(queue: &mut Queue<&'static str>, now: Duration) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.next(now)).collect()
    }

    #[test]
    fn runs_take_turns_however_much_one_of_them_wants() {
        let mut queue = Queue::default();
        let big = queue.join(0);
        for trial in ["b0", "b1", "b2", "b3"] {
            queue.wait(big, trial, NOW);
        }
        assert_eq!(queue.next(NOW), Some("b0"));
        let small = queue.join(0);
        queue.wait(small, "s0", NOW);
        queue.wait(small, "s1", NOW);
        assert_eq!(order(&mut queue, NOW), ["s0", "b1", "s1", "b2", "b3"]);
    }

    #[test]
    fn a_higher_priority_goes_first_until_waiting_has_made_up_for_it() {
        let mut queue = Queue::default();
        let (low, high) = (queue.join(0), queue.join(3));
        queue.wait(low, "low", NOW);
        queue.wait(high, "high", NOW);
        assert_eq!(queue.next(NOW), Some("high"));
        let later = AGEING * 3;
        queue.wait(high, "high again", later);
        assert_eq!(order(&mut queue, later), ["low", "high again"]);
    }

    #[test]
    fn what_waits_for_a_run_that_left_is_gone() {
        let mut queue = Queue::default();
        let (gone, stays) = (queue.join(9), queue.join(0));
        queue.wait(gone, "gone", NOW);
        queue.wait(stays, "stays", NOW);
        queue.leave(gone);
        assert_eq!(order(&mut queue, NOW), ["stays"]);
    }

    #[test]
    fn nobody_waits_longer_than_the_priorities_are_apart() {
        let mut queue = Queue::default();
        let (low, high) = (queue.join(-5), queue.join(5));
        queue.wait(low, "low", NOW);
        let mut now = NOW;
        // A run of higher priority always has something waiting.
        let served = (0..1000).position(|_| {
            queue.wait(high, "high", now);
            now += Duration::from_secs(1);
            queue.next(now) == Some("low")
        });
        assert!(served.is_some_and(|turns| turns <= 101), "{served:?}");
    }
}

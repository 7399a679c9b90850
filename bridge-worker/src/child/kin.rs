//! Whose a process is that has fallen to this one: of a call that goes on, of one that is over, or nobody's we know.
//!
//! Pure. What is taken for proof, the best first:
//! - the mark in its environment, which names this process and the call;
//! - its process group or session, when that is led by a process of a call;
//! - that it, or who leads its session, was seen below a process of a call when that was looked at last;
//! - that it left our session, unless this is the first process of its system. A process falls to one of its ancestors,
//!   so whatever falls to us was started by something of ours, and what we start for other purposes stays in our
//!   session. To the first process of a container fall strangers too (what `docker exec` leaves behind): there this
//!   proves nothing, and who is known by nothing else is left alone.
//!
//! Of which call something is that only left our session is told by time: the call had begun, and it goes on. When that
//! fits several, nobody can say; it is spared until all of them are over.

use std::collections::{BTreeMap, BTreeSet};

/// A number no two calls of this process have.
pub(super) type CallId = u64;

/// A moment, in clock ticks since the system was started.
pub(super) type Ticks = u64;

/// What can be seen of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) pid: i32,
    pub(super) start: Ticks,
    pub(super) group: i32,
    pub(super) session: i32,
    pub(super) is_over: bool,
    /// What its environment says, if it says that it is of this process.
    pub(super) mark: Option<CallId>,
}

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of a call that goes on.
    Of(CallId),
    /// Of no call that goes on: it is to end.
    Left,
    /// Nobody's, and its first thread has ended: it is to be waited for, and not to be touched.
    Ended,
    /// It may be of a call that goes on, or of none of ours.
    Unknown,
}

/// The process that asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) session: i32,
    /// It is the first process of its system, to which strangers fall too.
    pub(super) is_first: bool,
}

/// Processes that serve one purpose: one call, or the calls of one child.
#[derive(Debug, Default)]
struct Call {
    members: BTreeSet<i32>,
    start: Ticks,
    /// Its processes do not keep what their children leave behind; it falls to us while they live.
    lets_go: bool,
    is_over: bool,
    /// Who was below its members when they were looked at last.
    seen: BTreeMap<i32, Ticks>,
}

/// The calls that have processes.
#[derive(Debug)]
pub(super) struct Kin {
    calls: BTreeMap<CallId, Call>,
    next: CallId,
    /// When the first process of any call began: what is older was here before this program.
    first: Option<Ticks>,
}

impl Kin {
    pub(super) const fn new() -> Self {
        Self { calls: BTreeMap::new(), next: 1, first: None }
    }

    /// A number for a call that is about to get a process.
    pub(super) fn next_call(&mut self) -> CallId {
        self.next += 1;
        self.next - 1
    }

    /// A process was started for a call.
    pub(super) fn join(&mut self, call: CallId, pid: i32, start: Ticks, lets_go: bool) {
        self.first.get_or_insert(start);
        let known = self.calls.entry(call).or_insert_with(|| Call { start, ..Call::default() });
        known.members.insert(pid);
        known.lets_go |= lets_go;
    }

    /// A process of a call is nobody's business any more.
    pub(super) fn leave(&mut self, call: CallId, pid: i32) {
        let Some(known) = self.calls.get_mut(&call) else { return };
        known.members.remove(&pid);
        if known.members.is_empty() {
            self.calls.remove(&call);
        }
    }

    /// A call is over: whatever it has left is to end.
    pub(super) fn end(&mut self, call: CallId) {
        self.calls.entry(call).and_modify(|known| known.is_over = true);
    }

    /// Who is below the members of a call now. Of one that is over there is nobody to come.
    pub(super) fn note_seen(&mut self, call: CallId, seen: BTreeMap<i32, Ticks>) {
        if let Some(known) = self.calls.get_mut(&call).filter(|known| !known.is_over) {
            known.seen = seen;
        }
    }

    /// True for the processes that were started for calls: those are ended by whoever has the call.
    pub(super) fn is_member(&self, pid: i32) -> bool {
        self.calls.values().any(|call| call.members.contains(&pid))
    }

    /// Whose a process is that fell to us.
    pub(super) fn whose(&self, found: &Found, asker: Asker) -> Whose {
        if let Some(call) = found.mark {
            return self.of(call);
        }
        let is_known = |call: &Call| call.has_led(found) || call.has_seen(found, asker);
        if let Some((id, _)) = self.calls.iter().find(|(_, call)| is_known(call)) {
            return self.of(*id);
        }
        if found.session == asker.session {
            return Whose::Unknown;
        }
        if found.is_over {
            return Whose::Ended;
        }
        // A sidecar that was started before this program took its shell's place is no call's.
        if asker.is_first || self.first.is_none_or(|first| found.start < first) {
            return Whose::Unknown;
        }
        let might = |call: &Call| call.lets_go && !call.is_over && call.start <= found.start;
        let mut suspects = self.calls.iter().filter(|(_, call)| might(call));
        match (suspects.next(), suspects.next()) {
            (None, _) => Whose::Left,
            (Some((id, _)), None) => Whose::Of(*id),
            (Some(_), Some(_)) => Whose::Unknown,
        }
    }

    fn of(&self, id: CallId) -> Whose {
        let goes_on = self.calls.get(&id).is_some_and(|call| !call.is_over);
        if goes_on { Whose::Of(id) } else { Whose::Left }
    }
}

impl Call {
    fn has_led(&self, found: &Found) -> bool {
        self.members.contains(&found.group) || self.members.contains(&found.session)
    }

    fn has_seen(&self, found: &Found, asker: Asker) -> bool {
        // A number may have been given to another process; that of a session is not while somebody is in it.
        self.seen.get(&found.pid) == Some(&found.start)
            || (found.session != asker.session && self.seen.contains_key(&found.session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Asker = Asker { session: 100, is_first: false };
    const FIRST: Asker = Asker { session: 1, is_first: true };

    /// Calls 1 (a child), 2 and 3 (scripts), begun one after the other.
    fn kin() -> Kin {
        let mut kin = Kin::new();
        for (pid, start, lets_go) in [(10, 1000, false), (20, 2000, true), (30, 3000, true)] {
            let call = kin.next_call();
            kin.join(call, pid, start, lets_go);
        }
        kin
    }

    fn found(pid: i32, start: Ticks, session: i32) -> Found {
        Found { pid, start, group: pid, session, is_over: false, mark: None }
    }

    #[test]
    fn a_mark_says_whose_it_is_wherever_it_moved() {
        let mut kin = kin();
        let marked = Found { mark: Some(2), ..found(99, 2500, 99) };
        assert_eq!((kin.whose(&marked, US), kin.whose(&marked, FIRST)), (Whose::Of(2), Whose::Of(2)));
        kin.end(2);
        assert_eq!((kin.whose(&marked, US), kin.whose(&marked, FIRST)), (Whose::Left, Whose::Left));
        kin.leave(2, 20);
        assert_eq!(kin.whose(&marked, FIRST), Whose::Left, "a call that is gone is over");
    }

    #[test]
    fn the_group_of_a_call_and_what_was_seen_below_it_are_known_without_a_mark() {
        let mut kin = kin();
        let in_group = Found { group: 20, ..found(99, 2500, 100) };
        assert_eq!(kin.whose(&in_group, US), Whose::Of(2));
        kin.note_seen(3, BTreeMap::from([(99, 3500)]));
        assert_eq!(kin.whose(&found(99, 3500, 1), FIRST), Whose::Of(3));
        assert_eq!(kin.whose(&found(98, 3600, 99), FIRST), Whose::Of(3), "who leads its session was seen");
        assert_eq!(kin.whose(&found(99, 9999, 1), FIRST), Whose::Unknown, "another process of that number");
        kin.end(3);
        kin.note_seen(3, BTreeMap::new());
        assert_eq!(kin.whose(&found(99, 3500, 100), US), Whose::Left, "though it is in our session");
    }

    #[test]
    fn what_only_left_our_session_is_told_by_the_calls_it_can_be_of() {
        let mut kin = kin();
        let stray = |start| found(99, start, 99);
        assert_eq!(kin.whose(&stray(1500), US), Whose::Left, "a child keeps what it leaves while it lives");
        assert_eq!(kin.whose(&stray(2500), US), Whose::Of(2), "the other had not begun");
        assert_eq!(kin.whose(&stray(3500), US), Whose::Unknown, "it may be of either");
        kin.end(2);
        assert_eq!(kin.whose(&stray(3500), US), Whose::Of(3));
        kin.end(3);
        assert_eq!(kin.whose(&stray(3500), US), Whose::Left);
    }

    #[test]
    fn strangers_are_left_alone() {
        let mut kin = kin();
        [1, 2, 3].into_iter().for_each(|call| kin.end(call));
        assert_eq!(kin.whose(&found(99, 3500, 99), FIRST), Whose::Unknown, "of somebody's `docker exec`");
        assert_eq!(kin.whose(&found(99, 3500, 100), US), Whose::Unknown, "a program of our own");
        let dead = Found { is_over: true, ..found(99, 3500, 99) };
        assert_eq!(kin.whose(&dead, FIRST), Whose::Ended, "waiting for it hurts nobody");
        assert_eq!(kin.whose(&dead, US), Whose::Ended, "another of its threads may live");
        assert_eq!(kin.whose(&found(99, 999, 99), US), Whose::Unknown, "older than the first call");
        assert_eq!(kin.whose(&found(99, 1000, 99), US), Whose::Left);
    }

    #[test]
    fn numbers_are_not_given_twice_and_members_are_known() {
        let mut kin = kin();
        assert!(kin.is_member(20) && !kin.is_member(99));
        kin.leave(3, 30);
        assert!(!kin.is_member(30));
        assert_eq!(kin.next_call(), 4);
    }
}

//! Who of several sinks takes events from the broker: the one that holds the lease.
//!
//! The lease is one key that only a compare-and-set changes, and no clock is compared with another: its holder writes
//! the key anew every [`RENEW_EVERY`]; whoever has seen the same revision of it for [`SILENCE`] of its own time takes it
//! over. The holder counts from before its last write, and stops at [`VALID_FOR`], which is earlier: there are never two.
//!
//! A holder is a process, not a name: of two processes that have copies of one data directory, and so one name, the one
//! that comes second finds the key of the other renewed by somebody else. Only at its very first look a process takes the
//! key of its own name over at once: the lock on the directory proves that whoever wrote it is dead.
//!
//! Pure: time is an argument, and what is to be done is returned.

use std::time::{Duration, Instant};

/// How often the holder renews the lease.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long a holder may work after it began to write the key.
pub const VALID_FOR: Duration = Duration::from_secs(4);
/// How long a key stands still before its holder counts as gone.
pub const SILENCE: Duration = Duration::from_secs(6);

/// Somebody asks the holder to give the lease up for a while, by a key that is written anew all the time.
#[derive(Debug, Default)]
pub struct Wish {
    seen: Option<(u64, Instant)>,
}

impl Wish {
    /// True while somebody wishes it: the key, whose revision was read just now, does not stand still.
    pub fn is_alive(&mut self, revision: Option<u64>, now: Instant) -> bool {
        let Some(revision) = revision else {
            self.seen = None;
            return false;
        };
        match self.seen {
            Some((known, since)) if known == revision => now.saturating_duration_since(since) < SILENCE,
            Some(_) | None => {
                self.seen = Some((revision, now));
                true
            }
        }
    }
}

/// Who may hold the lease: a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// The name of its data directory.
    pub name: String,
    /// Its own, of this process alone.
    pub nonce: String,
}

/// The key as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Its revision; 0 when there is no key.
    pub revision: u64,
    /// Who holds the lease; `None` when it was given up.
    pub holder: Option<Holder>,
}

/// What a sink does about the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Write our name over this revision.
    Write(u64),
    /// Nothing yet.
    Wait,
}

/// One sink's view of the lease.
#[derive(Debug)]
pub struct Candidate {
    me: Holder,
    /// False before the first look.
    has_looked: bool,
    /// The revision somebody else holds, and when it was first seen.
    seen: Option<(u64, Instant)>,
    /// The revision we hold, and when we began to write it.
    held: Option<(u64, Instant)>,
}

impl Candidate {
    /// A sink that holds nothing. No other living process has the same nonce.
    pub fn new(me: Holder) -> Self {
        Self { me, has_looked: false, seen: None, held: None }
    }

    /// Who it is.
    pub fn me(&self) -> &Holder {
        &self.me
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.me.name
    }

    /// Until when this sink may work without another word.
    pub fn holds_until(&self) -> Option<Instant> {
        self.held.map(|(_, began)| began + VALID_FOR)
    }

    /// The revision that is held.
    pub fn revision(&self) -> Option<u64> {
        self.held.map(|(revision, _)| revision)
    }

    /// Decides by what the key says.
    pub fn look(&mut self, sight: &Sight, now: Instant) -> Move {
        let is_first_look = !std::mem::replace(&mut self.has_looked, true);
        if let Some((revision, began)) = self.held {
            if revision == sight.revision {
                let is_due = now.saturating_duration_since(began) >= RENEW_EVERY;
                return if is_due { Move::Write(revision) } else { Move::Wait };
            }
            // An older one is an answer from before our last write.
            if sight.revision < revision {
                return Move::Wait;
            }
            if sight.holder.as_ref() != Some(&self.me) {
                // Whoever lost it stands back for one look, in which everything that was begun ends.
                self.held = None;
                return Move::Wait;
            }
        }
        // Of this process is a write of its own whose answer was lost.
        let is_free = sight
            .holder
            .as_ref()
            .is_none_or(|holder| *holder == self.me || (is_first_look && holder.name == self.me.name));
        if is_free {
            return Move::Write(sight.revision);
        }
        match self.seen {
            Some((revision, since)) if revision == sight.revision => {
                let is_silent = now.saturating_duration_since(since) >= SILENCE;
                if is_silent { Move::Write(revision) } else { Move::Wait }
            }
            Some(_) | None => {
                self.seen = Some((sight.revision, now));
                Move::Wait
            }
        }
    }

    /// The revision to give up by what the key says; none when it is not ours any more. It may be another than the one we
    /// know of: of a write of ours whose answer was lost.
    pub fn ours(&self, sight: &Sight) -> Option<u64> {
        (sight.holder.as_ref() == Some(&self.me)).then_some(sight.revision)
    }

    /// Our write, begun at `began`, became this revision.
    pub fn wrote(&mut self, revision: u64, began: Instant) {
        self.held = Some((revision, began));
        (self.seen, self.has_looked) = (None, true);
    }

    /// Our write was refused, because somebody else was faster; or we have given the lease up.
    pub fn refused(&mut self) {
        self.held = None;
    }
}

#[cfg(test)]
mod tests;

//! When MLflow may be called at all. Pure: time and luck are arguments.
//!
//! An outage shuts it for everybody at once. It stays shut as long as the server asks, and at least for a pause that
//! grows. A good probe only half opens it, since it shows that the server can read: one batch is let through, and only
//! when that is written it is open. What may concern one run alone shuts it when it comes twice in a row, without a
//! written batch between.

use std::time::{Duration, Instant};

use super::error::Scope;
use crate::lanes::pause;

/// Batches in a row that fail for reasons of their own, after which the server is the reason.
const MAX_LONE_FAILURES: u32 = 2;

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing but probing.
    Shut,
    /// One batch at a time, to see whether writing works.
    HalfOpen,
    /// Everything.
    Open,
}

/// The state of the way to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    phase: Phase,
    /// Why it is not open.
    reason: String,
    /// No call before this moment.
    not_before: Instant,
    /// Failures in a row: tripping, and each probe; a written batch ends the row.
    failures: u32,
    /// Batches in a row that failed for reasons that may be their own.
    lone_failures: u32,
    /// Times it was shut; tells a batch of before from one of after.
    trips: u64,
}

impl Breaker {
    /// Shut until the first probe is answered.
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Shut,
            reason: "starting".to_owned(),
            not_before: now,
            failures: 0,
            lone_failures: 0,
            trips: 0,
        }
    }

    /// What may be done.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it is not open.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The earliest moment for the next probe.
    pub fn not_before(&self) -> Instant {
        self.not_before
    }

    /// What a batch shows when it is written, to tell whether it began before the last shutting.
    pub fn pass(&self) -> u64 {
        self.trips
    }

    /// A call met an outage that concerns everybody, and how long the server asks to be left alone.
    pub fn outage(&mut self, reason: &str, asked: Duration, now: Instant, luck: f64) {
        match self.phase {
            Phase::Open | Phase::HalfOpen => self.trip(reason, asked, now, luck),
            // Several calls meet the same outage: one pause is enough, but the longest one asked for holds.
            Phase::Shut => self.not_before = self.not_before.max(now + asked),
        }
    }

    /// A batch was not written; an outage that concerns everybody was told of before, and what is ours says nothing of
    /// MLflow. That of a run which has failed again and again says nothing new.
    pub fn batch_failed(&mut self, reason: &str, scope: Scope, is_known: bool, now: Instant, luck: f64) {
        if self.phase == Phase::Shut || scope != Scope::Lane || is_known {
            return;
        }
        self.lone_failures += 1;
        if self.phase == Phase::HalfOpen || self.lone_failures >= MAX_LONE_FAILURES {
            self.trip(reason, Duration::ZERO, now, luck);
        }
    }

    /// A batch that began with this pass was written.
    pub fn batch_written(&mut self, pass: u64) {
        if pass != self.trips || self.phase == Phase::Shut {
            return;
        }
        (self.failures, self.lone_failures) = (0, 0);
        self.phase = Phase::Open;
    }

    /// A probe was answered as MLflow does.
    pub fn probe_answered(&mut self, now: Instant) {
        if self.phase != Phase::Shut || now < self.not_before {
            return;
        }
        if self.trips == 0 {
            // Nothing was ever written in vain.
            (self.phase, self.failures) = (Phase::Open, 0);
        } else {
            self.phase = Phase::HalfOpen;
        }
    }

    /// A probe was not, and how long the server asks to be left alone.
    pub fn probe_failed(&mut self, reason: &str, asked: Duration, now: Instant, luck: f64) {
        match self.phase {
            Phase::Open | Phase::HalfOpen => self.trip(reason, asked, now, luck),
            Phase::Shut => self.wait(reason, asked, now, luck),
        }
    }

    fn trip(&mut self, reason: &str, asked: Duration, now: Instant, luck: f64) {
        self.phase = Phase::Shut;
        self.trips += 1;
        self.lone_failures = 0;
        self.wait(reason, asked, now, luck);
    }

    fn wait(&mut self, reason: &str, asked: Duration, now: Instant, luck: f64) {
        reason.clone_into(&mut self.reason);
        self.not_before = self.not_before.max(now + asked.max(pause(self.failures, luck)));
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;

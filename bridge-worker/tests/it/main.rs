//! The worker as a program, on a real broker, with real Python children.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod cache;
mod datasets;
mod faults;
mod growth;
mod hostile;
mod house;
mod oneshot;
mod python;
mod races;
mod refusals;
mod runs;
mod sharing;
mod steps;
mod takeover;
mod tries;
mod validate;

//! The worker as a program, on a real broker, with real Python children.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod cache;
mod cage;
mod datasets;
mod documents;
mod endurance;
mod expiry;
mod faults;
mod growth;
mod guides;
mod hostile;
mod house;
mod invokers;
mod lost;
mod metrics;
mod oneshot;
mod opaque;
mod pods;
mod python;
mod races;
mod refusals;
mod runs;
mod scripts;
mod sharing;
mod spares;
mod steps;
mod surroundings;
mod takeover;
mod tries;
mod validate;
mod waits;

//! The contract as its users meet it: recorded bytes, grown schemas, hostile input.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod evolution;
mod foreign;
mod golden;

//! Integration tests: the corpus, and everything on a real broker with the real program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends with a panic")]

mod acknowledge;
mod alerts;
mod audit;
mod capture;
mod chaos;
mod cluster;
mod corpus;
mod endless;
mod evidence;
mod expiry;
mod fenced;
mod foresight;
mod growth;
mod hostile;
mod identity;
mod lost;
mod meanwhile;
mod outage;
mod oversize;
mod pages;
mod patience;
mod purge;
mod repair;
mod reuse;
mod room;
mod same_run;
mod selection;
mod semantic;
mod storm;
mod sweep;
mod tasks;
mod turns;

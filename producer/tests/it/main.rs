//! The built program against a real broker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod manage;
mod outage;
mod program;
mod scale;
mod script;
mod show;
mod stage;
mod submit;
mod watch;

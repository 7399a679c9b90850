//! Probes for "no process is left behind".

use std::time::Duration;

pub use local_stack::process::{descendants, is_alive as alive};

use crate::wait_until;

/// Waits until none of these processes is alive (a zombie counts as gone).
///
/// # Panics
/// When one still is after `deadline`, naming what they were.
pub async fn wait_until_gone(what: &str, pids: &[u32], deadline: Duration) {
    wait_until(&format!("{what} ended (processes {pids:?})"), deadline, async || {
        pids.iter().all(|pid| !alive(*pid)).then_some(())
    })
    .await;
}

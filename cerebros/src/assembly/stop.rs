//! The end of the programs, and what is left of them.

use std::time::{Duration, Instant};

use local_stack::process::is_alive;
use tokio::time::sleep;

use super::keeper::Keeper;

/// How long the last process may take to be gone; a guard gives its program five seconds.
const GONE_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two looks.
const GONE_POLL: Duration = Duration::from_millis(20);

pub(super) async fn stop_all(keepers: Vec<Keeper>, grace: Duration) {
    for keeper in &keepers {
        keeper.tell_to_stop(grace);
    }
    for keeper in keepers {
        keeper.stopped().await;
    }
}

/// Those that still live after the last of them had time to end: what was interrupted while it was starting is ended
/// by its guard.
pub(super) async fn left_of(mut processes: Vec<u32>) -> Vec<String> {
    let end = Instant::now() + GONE_DEADLINE;
    loop {
        processes.retain(|pid| is_alive(*pid));
        if processes.is_empty() || Instant::now() >= end {
            return processes.iter().map(u32::to_string).collect();
        }
        sleep(GONE_POLL).await;
    }
}

//! Saying now and then that a long wait goes on: a download of minutes must not look like a program that hangs.

use std::time::Duration;

use service_kit::output::note;
use tokio::time::{Instant, sleep};

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Waits for `work`, whose end is that `what` is ready, and says so every ten seconds.
pub(crate) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = sleep(INTERVAL) => {
                note(format!("still waiting for {what} to be ready ({} s)", began.elapsed().as_secs()));
            }
        }
    }
}

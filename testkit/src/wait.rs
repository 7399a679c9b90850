//! Waiting on a condition, never on a time.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Looks every 10 ms until `condition` gives something. A look may itself wait; the deadline ends that too.
///
/// # Panics
/// When the deadline passes, with `what`: finish the sentence "did not happen within 5 s: ...".
pub async fn wait_until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match timeout_at(end, condition()).await {
            Ok(Some(found)) => return found,
            Ok(None) if Instant::now() < end => sleep(POLL).await,
            Ok(None) | Err(_) => panic!("did not happen within {:.1} s: {what}", deadline.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_value_of_the_first_successful_look_is_returned() {
        let mut looks = 0;
        let found = wait_until("three looks", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "did not happen within 0.1 s: the moon falls down")]
    async fn a_passed_deadline_panics_with_the_sentence() {
        wait_until("the moon falls down", Duration::from_millis(100), async || None::<()>).await;
    }

    #[tokio::test]
    #[should_panic(expected = "did not happen within 0.1 s: a look that never ends")]
    async fn a_look_that_hangs_is_ended_by_the_deadline() {
        let look = async || std::future::pending::<Option<()>>().await;
        wait_until("a look that never ends", Duration::from_millis(100), look).await;
    }
}

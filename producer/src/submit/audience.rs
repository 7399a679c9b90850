//! Is anybody there to take a request? Only a remark: a request waits on the stream for as long as it takes.

use std::time::Duration;

use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::output;
use service_kit::topology::WORKER_CONSUMER;
use tokio::time::{sleep, timeout};

use crate::watch::Target;

/// Looks before it is said that nobody listens: a worker between two pulls is there all the same.
const LOOKS: u32 = 3;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(150);
/// Longest time this remark may cost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the consumer of the workers says about a request.
#[derive(Debug, PartialEq, Eq)]
enum Audience {
    /// Somebody took it, or waits for one like it.
    Listening,
    /// Somebody works on others.
    Busy,
    Nobody,
}

/// Says so if no worker takes requests.
pub(super) async fn warn_if_nobody_listens(broker: &Broker, target: &Target) {
    match timeout(PATIENCE, look(broker, target.request_sequence())).await {
        Ok(Audience::Nobody) => output::warning(
            "no worker is taking requests; the run waits on the stream until one does (`bridge-worker serve`, or `cerebros up`)",
        ),
        Ok(Audience::Busy) => output::note("all workers are busy; the run waits for its turn"),
        Ok(Audience::Listening) | Err(_) => {}
    }
}

async fn look(broker: &Broker, sequence: u64) -> Audience {
    let mut seen = Audience::Listening;
    for _ in 0..LOOKS {
        seen = look_once(broker, sequence).await;
        if seen != Audience::Nobody {
            break;
        }
        sleep(PAUSE).await;
    }
    seen
}

async fn look_once(broker: &Broker, sequence: u64) -> Audience {
    let Ok(stream) = broker.jetstream.get_stream_no_info(STREAM).await else { return Audience::Nobody };
    let Ok(consumer) = stream.consumer_info(WORKER_CONSUMER).await else { return Audience::Nobody };
    judge(consumer.delivered.stream_sequence >= sequence, consumer.num_waiting, consumer.num_ack_pending)
}

fn judge(is_delivered: bool, pulls: usize, unsettled: usize) -> Audience {
    if is_delivered || pulls > 0 {
        Audience::Listening
    } else if unsettled > 0 {
        Audience::Busy
    } else {
        Audience::Nobody
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_took_it_or_waits_listens_and_one_that_works_is_busy() {
        assert_eq!(judge(true, 0, 1), Audience::Listening);
        assert_eq!(judge(false, 1, 0), Audience::Listening);
        assert_eq!(judge(false, 0, 3), Audience::Busy);
        assert_eq!(judge(false, 0, 0), Audience::Nobody);
    }
}

//! The client of whatever takes requests from one stream and announces endings on one: ours, and FastStream's.
//!
//! The same code submits to both, so that the difference is not the client's: requests go out in windows, each window
//! confirmed by the broker; an ending counts when a consumer of the stream gets it, which is after it was stored.

use std::collections::HashSet;
use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::{History, Kept};
use service_kit::publish::{self, Outgoing, Publisher};
use tokio::time::{Instant, timeout};

use crate::faults;
use crate::timings::Timings;

/// Requests that may wait for their confirmation at once.
const WINDOW: usize = 256;
/// The longest silence between two endings: a search of some seconds on a busy machine. Longer means that something
/// broke.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);
/// How long one request is repeated until the broker confirms it.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(10);

/// Who is asked, and where the endings are.
pub(crate) struct StreamClient {
    /// Our connection.
    pub(crate) broker: Broker,
    /// Publishes in windows.
    pub(crate) publisher: Publisher,
    /// Stream of the endings.
    pub(crate) endings_in: &'static str,
    /// Subjects of all endings.
    pub(crate) ending_subjects: &'static [&'static str],
    /// The one of them that is a success.
    pub(crate) success: &'static str,
    /// A request, and the header value by which its ending is known.
    pub(crate) request: Box<dyn Fn() -> Result<(Outgoing, String), CliError> + Send + Sync>,
    /// Header of an ending that says whose it is.
    pub(crate) identity: &'static str,
}

impl StreamClient {
    /// Submits `count` requests and waits for all endings. Returns the time from the first to the last.
    pub(crate) async fn throughput(&self, count: usize) -> Result<Duration, CliError> {
        let mut endings = self.endings().await?;
        let (requests, mut awaited): (Vec<Outgoing>, HashSet<String>) =
            (0..count).map(|_| (self.request)()).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let began = Instant::now();
        let submit = async {
            for window in requests.chunks(WINDOW) {
                self.publisher.send_all(window).await.map_err(|error| unpublished(&error))?;
            }
            Ok::<_, CliError>(())
        };
        let collect = async {
            while !awaited.is_empty() {
                let ending = self.next_of(&mut endings).await?;
                awaited.remove(ending.headers.get(self.identity).unwrap_or_default());
            }
            Ok::<_, CliError>(())
        };
        tokio::try_join!(submit, collect)?;
        Ok(began.elapsed())
    }

    /// Submits `count` requests, each after the ending of the one before, and records how long each took. Returns the
    /// last ending.
    pub(crate) async fn latency(&self, count: usize, timings: &mut Timings) -> Result<Kept, CliError> {
        let mut endings = self.endings().await?;
        let mut last = None;
        for _ in 0..count.max(1) {
            let (request, identity) = (self.request)()?;
            let began = Instant::now();
            publish::send(&self.broker, &request, PUBLISH_PATIENCE)
                .await
                .map_err(|error| unpublished(&error))?;
            loop {
                let ending = self.next_of(&mut endings).await?;
                if ending.headers.get(self.identity) == Some(&identity) {
                    timings.record(began.elapsed());
                    last = Some(ending);
                    break;
                }
            }
        }
        Ok(last.expect("at least one request was submitted"))
    }

    async fn endings(&self) -> Result<History, CliError> {
        History::from_now(&self.broker, self.endings_in, self.ending_subjects).await
    }

    async fn next_of(&self, endings: &mut History) -> Result<Kept, CliError> {
        let next = timeout(SILENCE_LIMIT, endings.next());
        let ending = next.await.map_err(|_| faults::silent("the next ending", SILENCE_LIMIT))??;
        let ending = ending.ok_or_else(|| CliError::internal("the stream of endings ended"))?;
        if ending.subject == self.success {
            return Ok(ending);
        }
        let text = format!("a request ended as {} instead of {}", ending.subject, self.success);
        Err(CliError::new("unsuccessful", Exit::Unsuccessful, text)
            .because(String::from_utf8_lossy(&ending.payload)))
    }
}

fn unpublished(error: &publish::PublishFailure) -> CliError {
    CliError::new("unpublished", Exit::Unreachable, "a request was not published").because(error)
}

//! The lease of whoever is at work on tasks. No clocks are compared but the broker's with itself: a lease is over when the
//! broker says that it was written too long ago, or when it has stood still for as long before our own eyes.
//!
//! Whoever was held up learns too late that the lease is over. So replays into the event stream are published behind a fence
//! ([`REPLAY_FENCE`]): under the condition that the last message on it is the one the lease says. Who takes over a lease that
//! was not given up raises the fence and writes down in the lease where it stands, in this order: a place that was written
//! down is known to nobody but the one who has the lease, and is passed when the next takes it. What the one before still
//! had on its way is refused from then on, so that what is found on the stream is all there is of it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::kv;
use async_nats::jetstream::response::Response;
use schemas::Timestamp;
use schemas::subject::REPLAY_FENCE;
use serde::{Deserialize, Serialize};
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::fence::Bar;
use service_kit::topology::DLQ_BUCKET;

use super::{Desk, unavailable};

/// Key of the lease.
const LEASE: &str = "replay.lease";
/// How long whoever is at work may be silent before another goes on.
const LEASE_LASTS: Duration = Duration::from_secs(6);
/// How long the fence is tried to be raised.
const RAISE_PATIENCE: Duration = Duration::from_secs(10);
/// How often the lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// What the key of the lease says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Holder {
    owner: Option<String>,
    /// Sequence of the last message on the fence; 0 while there is none.
    #[serde(default)]
    fence: u64,
}

/// What a message on the fence says: who raised it.
#[derive(Debug, Serialize)]
struct Mark<'a> {
    owner: &'a str,
}

/// What the broker says the time is.
#[derive(Debug, Deserialize)]
struct BrokerTime {
    ts: Option<Timestamp>,
}

/// The right to work on tasks.
pub(crate) struct Lease {
    desk: Desk,
    pub(crate) owner: String,
    /// What was found of the one before.
    pub(crate) found: u64,
    revision: u64,
    renewed: Moment,
    bar: Bar,
    /// Where the fence stands.
    fence: u64,
    is_raised: bool,
}

/// A moment by both clocks of a machine: one of them stands still while it sleeps, the other may be set back.
#[derive(Debug, Clone, Copy)]
struct Moment(Instant, Timestamp);

impl Moment {
    fn now() -> Self {
        Self(Instant::now(), clock::now())
    }

    /// True if it lies back for so long, by one of the clocks.
    fn is_past(self, long: Duration) -> bool {
        let passed = u128::try_from(clock::now().micros() - self.1.micros());
        self.0.elapsed() >= long || passed.map_or(true, |passed| passed >= long.as_micros())
    }
}

impl Desk {
    /// Takes the lease if nobody has it.
    pub(crate) async fn take_lease(&self, owner: &str) -> Result<Option<Lease>, CliError> {
        let entry = self.bucket.entry(LEASE).await.map_err(|error| unavailable(&error))?;
        let holder: Holder =
            entry.as_ref().and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default();
        let revision = entry.as_ref().map_or(0, |entry| entry.revision);
        let written = entry.map(|entry| Timestamp::from(entry.created));
        if holder.owner.is_some() && !self.stands_still(revision) && !self.is_old(written).await? {
            return Ok(None);
        }
        let mut lease = Lease {
            desk: self.clone(),
            owner: owner.to_owned(),
            found: revision,
            revision,
            renewed: Moment::now(),
            bar: Bar::on(&self.broker, REPLAY_FENCE.to_owned(), RAISE_PATIENCE),
            fence: holder.fence,
            is_raised: false,
        };
        let is_ours = lease.write(true).await? && (holder.owner.is_none() || lease.raise().await?);
        Ok(is_ours.then_some(lease))
    }

    /// True if the broker wrote it longer ago than a lease lasts, by its own clock.
    async fn is_old(&self, written: Option<Timestamp>) -> Result<bool, CliError> {
        let info = format!("STREAM.INFO.KV_{DLQ_BUCKET}");
        let answer: Response<BrokerTime> =
            self.broker.jetstream.request(info, &()).await.map_err(|error| unavailable(&error))?;
        let now = match answer {
            Response::Ok(BrokerTime { ts }) => ts,
            Response::Err { error } => return Err(unavailable(&error)),
        };
        let age = now.zip(written).map(|(now, written)| now.micros() - written.micros());
        Ok(age.and_then(|age| u128::try_from(age).ok()).is_some_and(|age| age > LEASE_LASTS.as_micros()))
    }

    /// True if it has not been renewed while we looked, for longer than it lasts.
    fn stands_still(&self, revision: u64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match *seen {
            Some((known, since)) if known == revision => since.elapsed() > LEASE_LASTS,
            Some(_) | None => {
                *seen = Some((revision, Instant::now()));
                false
            }
        }
    }
}

impl Lease {
    /// Renews it when it is time to; false when somebody else has it.
    pub(crate) async fn keep(&mut self) -> Result<bool, CliError> {
        if !self.renewed.is_past(RENEW_EVERY) {
            return Ok(true);
        }
        self.write(true).await
    }

    /// Shuts out whoever had the lease before; false when somebody else has it. Also what to do when a message was refused: a
    /// fence older than the stream keeps messages is gone.
    pub(crate) async fn raise(&mut self) -> Result<bool, CliError> {
        let mark = serde_json::to_vec(&Mark { owner: &self.owner }).expect("a name is plain data");
        let raised: Result<u64, service_kit::fence::Unavailable> =
            self.bar.raise(|_| Ok(Some(mark.clone()))).await;
        self.fence = raised.map_err(|error| {
            CliError::new("fence-unavailable", Exit::Unreachable, "the fence of the replays cannot be raised")
                .because(error)
                .help(format!("is the broker up, and may this user publish on {REPLAY_FENCE}?"))
        })?;
        self.is_raised = true;
        self.write(true).await
    }

    /// The same, unless this lease has done so already: nothing of it is on its way that it has not waited for.
    pub(crate) async fn raise_once(&mut self) -> Result<bool, CliError> {
        if self.is_raised { Ok(true) } else { self.raise().await }
    }

    /// Puts the condition of the fence on a message for the event stream.
    pub(crate) fn condition(&self, headers: &mut HeaderMap) {
        self.bar.demand(self.fence, headers);
    }

    /// Gives it up, so that the next goes on at once; what the next finds of it.
    pub(crate) async fn give_up(mut self) -> u64 {
        if !matches!(self.write(false).await, Ok(true)) {
            tracing::debug!("the lease of the replays was not given up; it runs out instead");
        }
        self.revision
    }

    async fn write(&mut self, is_wanted: bool) -> Result<bool, CliError> {
        let renewed = Moment::now();
        let holder = Holder { owner: is_wanted.then(|| self.owner.clone()), fence: self.fence };
        let text = serde_json::to_vec(&holder).expect("names are plain data").into();
        match self.desk.bucket.update(LEASE, text, self.revision).await {
            Ok(revision) => (self.revision, self.renewed) = (revision, renewed),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => return Ok(false),
            Err(error) => return Err(unavailable(&error)),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_by_whichever_clock_says_so() {
        let now = Moment::now();
        assert!(!now.is_past(Duration::from_secs(60)));
        let minute = Duration::from_secs(60);
        let wall = |micros: i64| Timestamp::from_micros(now.1.micros() + micros);
        let slept = Moment(now.0, wall(-120_000_000));
        assert!(slept.is_past(minute), "the steady clock stands still while a machine sleeps");
        let set_back = Moment(now.0, wall(60_000_000));
        assert!(set_back.is_past(minute), "what lies in the future tells nothing");
    }
}

//! How far the sink has come, run by run.
//!
//! The broker says up to which event everything is settled. One run that MLflow does not take keeps that place where it
//! is, whatever comes behind it, so the sink tells more: how far it has come with all the others, which runs wait, where
//! they stand and why. That lies in one key, written anew now and then while some run waits, and never for an event.
//!
//! What it says stays true: what was written once is written, whoever says something newer.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::kv;
use schemas::RunId;
use schemas::subject::STREAM;
use serde::{Deserialize, Serialize};
use service_kit::broker::Broker;
use service_kit::registry::RunRecord;
use service_kit::topology::{MLFLOW_BUCKET, SINK_CONSUMER};
use tokio::sync::watch;

/// Where it lies.
const KEY: &str = "sinks.unsettled";
/// Most runs that are named.
const MAX_RUNS: usize = 500;
/// Longest reason, in characters.
const MAX_REASON: usize = 300;
/// Time between two writes of the key.
const PERIOD: Duration = Duration::from_secs(2);

/// What the sink tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unsettled {
    /// MLflow has everything up to this sequence, but for the runs that are named.
    front: u64,
    /// Runs that wait.
    runs: BTreeMap<RunId, Waiting>,
    /// When the stream was made that has these sequences.
    #[serde(default)]
    stream: String,
}

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// The first event of it that is not settled.
    pub(crate) first: u64,
    /// It has failed again and again.
    pub(crate) is_stuck: bool,
    /// MLflow's words.
    pub(crate) reason: String,
}

impl Unsettled {
    /// Of a sink that has taken everything up to `taken`: the runs it has in hand, each with its first event, and with
    /// how it waits when it has failed.
    pub(crate) fn of<'a>(taken: u64, runs: impl Iterator<Item = (&'a RunId, u64, Option<Waiting>)>) -> Self {
        let (mut front, mut failed) = (taken, Vec::new());
        for (run, first, waiting) in runs {
            match waiting {
                Some(waiting) => failed.push((run.clone(), waiting)),
                None => front = front.min(first.saturating_sub(1)),
            }
        }
        failed.sort_by_key(|(_, waiting)| waiting.first);
        if let Some((_, first)) = failed.get(MAX_RUNS) {
            front = front.min(first.first.saturating_sub(1));
            failed.truncate(MAX_RUNS);
        }
        for (_, waiting) in &mut failed {
            waiting.reason = waiting.reason.chars().take(MAX_REASON).collect();
        }
        Self { front, runs: failed.into_iter().collect(), stream: String::new() }
    }
}

impl Unsettled {
    /// True when there is nothing new in it. How far a sink has come says only something while some run waits.
    fn is_told_by(&self, known: Option<&Self>) -> bool {
        known.is_some_and(|known| self == known || (self.runs.is_empty() && known.runs.is_empty()))
    }
}

/// How far the sink has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    /// Everything up to this sequence is settled.
    floor: u64,
    /// Nothing waits and nothing is in hand.
    is_idle: bool,
    /// Every event was handed over, and all are settled but for the runs that are named.
    is_done_with_the_rest: bool,
    told: Unsettled,
}

impl Reach {
    /// Everything of this run up to this sequence is settled.
    pub(crate) fn of(&self, run: &RunId) -> u64 {
        let told = self.told.runs.get(run).map_or(self.told.front, |waiting| waiting.first.saturating_sub(1));
        self.floor.max(told)
    }

    /// True when no event of the run is still to be written.
    pub(crate) fn is_behind(&self, record: &RunRecord) -> bool {
        self.is_idle || record.last_sequence <= self.of(&record.run_id)
    }

    /// True when no event of the run up to this one is still to be written.
    pub(crate) fn has(&self, run: &RunId, sequence: u64) -> bool {
        self.is_idle || sequence <= self.of(run)
    }

    /// True when no event of the run is still to be written, whatever the stream holds.
    pub(crate) fn is_done_with(&self, run: &RunId) -> bool {
        self.is_idle || (self.is_done_with_the_rest && !self.told.runs.contains_key(run))
    }

    /// The runs that have failed again and again, and where.
    pub(crate) fn stuck(&self) -> impl Iterator<Item = (&RunId, &Waiting)> {
        self.told.runs.iter().filter(|(_, waiting)| waiting.is_stuck && waiting.first > self.floor)
    }
}

/// Asks the broker how far the sink has come.
///
/// # Errors
/// What the broker said.
pub(crate) async fn reach(broker: &Broker) -> Result<Reach, String> {
    let stream = broker.jetstream.get_stream(STREAM).await.map_err(|error| error.to_string())?;
    let last = stream.cached_info().state.last_sequence;
    let consumer: PullConsumer =
        stream.get_consumer(SINK_CONSUMER).await.map_err(|error| error.to_string())?;
    let info = consumer.cached_info();
    let floor = info.ack_floor.stream_sequence;
    if info.num_pending == 0 && info.num_ack_pending == 0 {
        return Ok(Reach { floor: floor.max(last), is_idle: true, ..Reach::default() });
    }
    let bucket = broker.jetstream.get_key_value(MLFLOW_BUCKET).await.map_err(|error| error.to_string())?;
    let told = told_before(&bucket, &stream.cached_info().created.to_string()).await?.unwrap_or_default();
    let is_done_with_the_rest = info.num_pending == 0 && told.front >= info.delivered.stream_sequence;
    Ok(Reach { floor, is_idle: false, is_done_with_the_rest, told })
}

/// Tells it until it is dropped; nothing while there is nothing to say.
pub(crate) async fn tell(broker: Broker, mut said: watch::Receiver<Option<Unsettled>>) {
    let mut known = None;
    loop {
        let now = said.borrow_and_update().clone();
        let is_told = now.as_ref().is_none_or(|now| now.is_told_by(known.as_ref()));
        if let Some(now) = now.filter(|_| !is_told) {
            match write(&broker, &now).await {
                Ok(true) => known = Some(now),
                Ok(false) => {}
                Err(reason) => tracing::debug!(reason, "it cannot be told how far the sink has come"),
            }
        }
        tokio::time::sleep(PERIOD).await;
        if is_told && said.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// True when that is what the key says now.
async fn write(broker: &Broker, told: &Unsettled) -> Result<bool, String> {
    let bucket = broker.jetstream.get_key_value(MLFLOW_BUCKET).await.map_err(|error| error.to_string())?;
    let stream = broker.jetstream.get_stream(STREAM).await.map_err(|error| error.to_string())?;
    let stream = stream.cached_info().created.to_string();
    let before = told_before(&bucket, &stream).await?;
    // Whoever had the lease before had come further: that holds until we have come as far.
    if before.as_ref().is_some_and(|before| told.front < before.front) {
        return Ok(false);
    }
    if told.runs.is_empty() {
        if before.is_some() {
            bucket.delete(KEY).await.map_err(|error| error.to_string())?;
        }
        return Ok(true);
    }
    let value =
        serde_json::to_vec(&Unsettled { stream, ..told.clone() }).map_err(|error| error.to_string())?;
    bucket.put(KEY, value.into()).await.map_err(|error| error.to_string())?;
    Ok(true)
}

/// What was told of this stream.
async fn told_before(bucket: &kv::Store, stream: &str) -> Result<Option<Unsettled>, String> {
    let value = bucket.get(KEY).await.map_err(|error| error.to_string())?;
    let told: Option<Unsettled> = value.and_then(|value| serde_json::from_slice(&value).ok());
    Ok(told.filter(|told| told.stream == stream))
}

#[cfg(test)]
mod tests {
    use schemas::Timestamp;
    use serde_json::json;

    use super::*;

    fn run(name: &str) -> RunId {
        RunId::parse(name).unwrap()
    }

    fn record(name: &str, last: u64) -> RunRecord {
        serde_json::from_value(json!({
            "run_id": name, "state": "failed", "attempt": 2, "dataset_id": "d", "objective": "o", "budget": {},
            "spec": {}, "request_sequence": 1, "first_sequence": 1, "last_sequence": last, "worker_id": null,
            "requested_at": Timestamp::from_micros(1_000),
        }))
        .unwrap()
    }

    fn waiting(first: u64) -> Waiting {
        Waiting { first, is_stuck: true, reason: "HTTP 403".into() }
    }

    #[test]
    fn a_run_that_waits_hides_nothing_of_the_others() {
        let (stuck, slow, written) = (run("stuck"), run("slow"), run("written"));
        let told = Unsettled::of(100, [(&stuck, 7, Some(waiting(7))), (&slow, 90, None)].into_iter());
        let reach = Reach { floor: 6, told, ..Reach::default() };
        assert_eq!((reach.of(&stuck), reach.of(&slow), reach.of(&written)), (6, 89, 89));
        let reach = Reach { is_done_with_the_rest: true, ..reach };
        assert_eq!((reach.is_done_with(&stuck), reach.is_done_with(&written)), (false, true));
        assert_eq!(
            (reach.is_behind(&record("stuck", 7)), reach.is_behind(&record("written", 89))),
            (false, true)
        );
        assert_eq!(
            reach.stuck().map(|(run, waiting)| (run, waiting.first)).collect::<Vec<_>>(),
            [(&stuck, 7)]
        );
    }

    #[test]
    fn while_no_run_waits_nothing_is_told() {
        let (stuck, none) = (run("stuck"), Unsettled::of(7, std::iter::empty()));
        let later = Unsettled::of(8, std::iter::empty());
        let waits = Unsettled::of(9, [(&stuck, 7, Some(waiting(7)))].into_iter());
        assert!(!none.is_told_by(None), "somebody may have left something");
        assert!(later.is_told_by(Some(&none)) && !waits.is_told_by(Some(&later)));
        assert!(!none.is_told_by(Some(&waits)));
    }

    #[test]
    fn what_was_told_long_ago_takes_nothing_back() {
        let stuck = run("stuck");
        let told = Unsettled::of(100, [(&stuck, 7, Some(waiting(7)))].into_iter());
        let reach = Reach { floor: 300, told, ..Reach::default() };
        assert_eq!((reach.of(&stuck), reach.stuck().count()), (300, 0));
    }

    #[test]
    fn only_so_many_runs_are_named_and_the_front_stands_before_the_others() {
        let runs: Vec<RunId> = (0..MAX_RUNS + 10).map(|number| run(&format!("r{number}"))).collect();
        let waiting = |number: usize| waiting(number as u64 + 10);
        let named = runs.iter().enumerate().map(|(number, run)| (run, 0, Some(waiting(number))));
        let told = Unsettled::of(10_000, named);
        assert_eq!((told.runs.len(), told.front), (MAX_RUNS, MAX_RUNS as u64 + 9));
    }

    #[test]
    fn a_run_of_which_events_may_be_under_way_is_not_behind() {
        let is_behind =
            |floor, is_idle| Reach { floor, is_idle, ..Reach::default() }.is_behind(&record("r", 9));
        assert_eq!((is_behind(8, false), is_behind(9, false), is_behind(0, true)), (false, true, true));
    }
}

//! A broker with our streams, and hands to play the worker with.

use std::time::Duration;

use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use schemas::{Event, Record, RunId, Timestamp};
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::history::{History, Kept};
use service_kit::registry::record::{Claimant, claim};
use service_kit::registry::{Registry, RunRecord};
use service_kit::{clock, topology};
use testkit::Nats;

/// How long anything of a stage may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Stage {
    pub(crate) nats: Nats,
    pub(crate) broker: Broker,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let nats = Nats::start().await;
        let broker = connect(&nats.url()).await;
        topology::ensure(&broker).await.unwrap();
        Self { nats, broker }
    }

    pub(crate) fn url(&self) -> String {
        self.nats.url()
    }

    pub(crate) async fn last_sequence(&self) -> u64 {
        self.broker.jetstream.get_stream(STREAM).await.unwrap().cached_info().state.last_sequence
    }

    /// Every message of the stream on a record's subject.
    pub(crate) async fn messages(&self, record: Record) -> Vec<Kept> {
        let mut history =
            History::to_the_present(&self.broker, STREAM, &[record.subject()], 1).await.unwrap();
        let mut messages = Vec::new();
        while let Some(kept) = history.next().await.unwrap() {
            messages.push(kept);
        }
        messages
    }

    /// The requests of the stream, each of which has to be valid.
    pub(crate) async fn requests(&self) -> Vec<RunRequested> {
        let decode = |kept: &Kept| {
            let decoded = schemas::codec::decode(&kept.subject, &kept.headers, &kept.payload).unwrap();
            assert_eq!(decoded.unknown_fields, Vec::<String>::new());
            let Event::RunRequested(request) = decoded.event else { panic!("not a request: {decoded:?}") };
            request
        };
        self.messages(Record::RunRequested).await.iter().map(decode).collect()
    }

    pub(crate) async fn registry(&self) -> Registry {
        Registry::open(&self.broker).await.unwrap()
    }

    /// Claims the request of a run, as a worker does. Returns its attempt.
    pub(crate) async fn claim(&self, run: &RunId) -> u32 {
        let (sequence, request) = self.request_of(run).await;
        let claimant = Claimant {
            run_id: run,
            request: &request,
            sequence,
            delivery: 1,
            is_retry_of_failed: false,
            is_owner_gone: false,
            requested_at: Timestamp::from_micros(1),
            worker_id: "w-1",
        };
        let change = self.registry().await.change(run, |known| claim(known, &claimant, clock::now())).await;
        change.unwrap().0.expect("a claim leaves a record").record.attempt
    }

    /// Changes a run's record, as its worker does.
    pub(crate) async fn record(&self, run: &RunId, change: impl Fn(&mut RunRecord)) {
        let write = |known: Option<&RunRecord>| {
            let mut record = known.expect("the run was claimed").clone();
            change(&mut record);
            (Some(record), ())
        };
        self.registry().await.change(run, write).await.unwrap();
    }

    pub(crate) async fn end(&self, run: &RunId, state: RunState) {
        self.record(run, |record| record.state = state).await;
    }

    async fn request_of(&self, run: &RunId) -> (u64, RunRequested) {
        let sequences: Vec<u64> =
            self.messages(Record::RunRequested).await.iter().map(|kept| kept.sequence).collect();
        let requests = self.requests().await;
        let last =
            sequences.into_iter().zip(requests).rfind(|(_, request)| request.run_id.as_ref() == Some(run));
        last.expect("the run was requested")
    }
}

pub(crate) async fn connect(url: &str) -> Broker {
    Broker::connect(&BrokerTarget::at(url).unwrap(), "test", DEADLINE).await.unwrap()
}

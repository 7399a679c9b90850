//! A broker, the sink under test, and what is published to it.

use std::time::Duration;

use async_nats::jetstream::consumer::{FromConsumer as _, PullConsumer, pull};
use clap::Parser as _;
use futures_util::StreamExt as _;
use schemas::cloudevents::Context;
use schemas::subject::{DLQ_STREAM, STREAM};
use schemas::{Encoding, Event, RunId};
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::publish::{Publisher, Voice};
use service_kit::shutdown::Shutdown;
use service_kit::topology::{self, MLFLOW_BUCKET, SINK_CONSUMER};
use testkit::{Nats, Port, Scratch, wait_until};
use tokio::task::JoinHandle;

/// Longest wait for the sink to have written what a test publishes.
pub(crate) const CAUGHT_UP: Duration = Duration::from_secs(120);

/// A broker of the test's own with the topology on it.
pub(crate) struct Pipeline {
    nats: Nats,
    pub(crate) broker: Broker,
    data_dir: Scratch,
}

impl Pipeline {
    pub(crate) async fn start() -> Self {
        let nats = Nats::start().await;
        let target = BrokerArgs { nats_url: Some(nats.url()), ..BrokerArgs::default() }.resolve().unwrap();
        let broker = Broker::connect(&target, "test", Duration::from_secs(10)).await.unwrap();
        topology::ensure(&broker).await.unwrap();
        Self { nats, broker, data_dir: Scratch::new() }
    }

    /// The sink, as `mlflow-sink serve` runs it.
    pub(crate) fn sink(&self, mlflow: &str, experiment: &str) -> Sink {
        self.sink_with(mlflow, &["--http=127.0.0.1:0", "--mlflow-experiment", experiment])
    }

    /// The sink with its pages at an address the test knows.
    pub(crate) fn sink_with_pages(&self, mlflow: &str, flags: &[&str]) -> (Sink, Pages) {
        let port = Port::new();
        let http = format!("--http={}", port.address());
        let flags: Vec<&str> = [http.as_str()].into_iter().chain(flags.iter().copied()).collect();
        (self.sink_with(mlflow, &flags), Pages::at(port))
    }

    /// The sink with flags of the test's own.
    pub(crate) fn sink_with(&self, mlflow: &str, flags: &[&str]) -> Sink {
        let (nats, data_dir) = (self.nats.url(), self.data_dir.path().to_str().unwrap());
        let given =
            ["mlflow-sink", "serve", "--nats-url", &nats, "--data-dir", data_dir, "--mlflow-url", mlflow];
        let cli = mlflow_sink::Cli::try_parse_from(given.iter().chain(flags)).unwrap();
        let shutdown = Shutdown::manual();
        let task = tokio::spawn(mlflow_sink::run(cli.command, shutdown.clone()));
        Sink { shutdown, task }
    }

    pub(crate) async fn publish(&self, run: &RunId, events: &[Event]) {
        self.publish_in(1, 0, run, events).await;
    }

    /// What an attempt says, in an epoch.
    pub(crate) async fn publish_in(&self, attempt: u32, epoch: u32, run: &RunId, events: &[Event]) {
        let publisher = Publisher::new(&self.broker, Encoding::Json);
        let voice = Voice { run: run.clone(), attempt, epoch, context: Context::default() };
        publisher.publish_all(events, &voice).await.unwrap();
    }

    /// Waits until the sink has acked everything in the stream.
    pub(crate) async fn caught_up(&self) {
        let stream = self.broker.jetstream.get_stream(STREAM).await.unwrap();
        let last = stream.get_info().await.unwrap().state.last_sequence;
        wait_until("the sink has settled every event", CAUGHT_UP, async || {
            let info = self.consumer().await?.get_info().await.ok()?;
            (info.ack_floor.stream_sequence >= last && info.num_ack_pending == 0).then_some(())
        })
        .await;
    }

    /// Sequence of the last event of the stream.
    pub(crate) async fn last_sequence(&self) -> u64 {
        let stream = self.broker.jetstream.get_stream(STREAM).await.unwrap();
        stream.get_info().await.unwrap().state.last_sequence
    }

    /// True while an event is neither acked nor given up.
    pub(crate) async fn unsettled(&self) -> u64 {
        let info = self.consumer().await.unwrap().get_info().await.unwrap();
        info.num_pending + info.num_ack_pending as u64
    }

    /// Events that are with a sink, or were with one that is gone.
    pub(crate) async fn in_hand(&self) -> usize {
        self.consumer().await.unwrap().get_info().await.unwrap().num_ack_pending
    }

    /// Makes the broker wait so long for a word about an event, before a sink opens the consumer.
    pub(crate) async fn set_ack_wait(&self, ack_wait: Duration) {
        let stream = self.broker.jetstream.get_stream(STREAM).await.unwrap();
        let known = stream.consumer_info(SINK_CONSUMER).await.unwrap().config;
        let config = pull::Config { ack_wait, ..pull::Config::try_from_consumer_config(known).unwrap() };
        stream.update_consumer(config).await.unwrap();
    }

    /// Who holds the lease, and the revision of it.
    pub(crate) async fn leader(&self) -> Option<(String, u64)> {
        let bucket = self.broker.jetstream.get_key_value(MLFLOW_BUCKET).await.unwrap();
        let entry = bucket.entry("sinks.leader").await.unwrap()?;
        let value: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
        value["sink"].as_str().map(|sink| (sink.to_owned(), entry.revision))
    }

    /// Every word about the lease from now on, as it comes to the broker: the bucket itself keeps but the last one.
    pub(crate) async fn words_about_the_lease(&self) -> async_nats::Subscriber {
        testkit::subscribe(&self.broker.client, format!("$KV.{MLFLOW_BUCKET}.sinks.leader")).await
    }

    async fn consumer(&self) -> Option<PullConsumer> {
        self.broker.jetstream.get_consumer_from_stream(SINK_CONSUMER, STREAM).await.ok()
    }

    /// Makes the broker hand out the whole stream again.
    pub(crate) async fn forget_the_position(&self) {
        let stream = self.broker.jetstream.get_stream(STREAM).await.unwrap();
        stream.delete_consumer(SINK_CONSUMER).await.unwrap();
        topology::ensure(&self.broker).await.unwrap();
    }

    /// As if all its events had grown too old.
    pub(crate) async fn empty_the_stream(&self) {
        self.broker.jetstream.get_stream(STREAM).await.unwrap().purge().await.unwrap();
    }

    /// Makes the broker forget which MLflow run belongs to a trial.
    pub(crate) async fn forget_birth(&self, trial: &str) {
        let bucket = self.broker.jetstream.get_key_value(MLFLOW_BUCKET).await.unwrap();
        let end = format!(".trial.{}", trial.replace('.', "="));
        let keys: Vec<String> = bucket.keys().await.unwrap().map(Result::unwrap).collect().await;
        bucket.delete(keys.iter().find(|key| key.ends_with(&end)).unwrap()).await.unwrap();
    }

    /// Takes everything out of the stream up to a sequence, as age would.
    pub(crate) async fn purge_up_to(&self, sequence: u64) {
        let stream = self.broker.jetstream.get_stream(STREAM).await.unwrap();
        stream.purge().sequence(sequence + 1).await.unwrap();
    }

    pub(crate) fn delete_the_ledger(&self) {
        std::fs::remove_dir_all(self.data_dir.join("mlflow-sink")).unwrap();
    }

    /// Reasons of all dead letters.
    pub(crate) async fn dead_letters(&self) -> Vec<String> {
        let stream = self.broker.jetstream.get_stream(DLQ_STREAM).await.unwrap();
        let last = stream.get_info().await.unwrap().state.last_sequence;
        let mut reasons = Vec::new();
        for sequence in 1..=last {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let reason = message.headers.get("Cerebros-Dlq-Reason").unwrap().to_string();
            assert_eq!(message.headers.get("Cerebros-Dlq-Class").unwrap().as_str(), "sink_refused");
            assert_eq!(message.headers.get("Cerebros-Dlq-Stage").unwrap().as_str(), "sink");
            reasons.push(reason);
        }
        reasons
    }
}

/// A running sink.
pub(crate) struct Sink {
    shutdown: Shutdown,
    task: JoinHandle<Result<Exit, CliError>>,
}

impl Sink {
    /// Drains it and waits for its end.
    pub(crate) async fn stop(self) {
        self.shutdown.trigger_drain();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.task).await;
        assert_eq!(ended.expect("a drained sink ends in time").unwrap().unwrap(), Exit::Done);
    }
}

/// What a running sink says about itself.
pub(crate) struct Pages {
    url: String,
    http: reqwest::Client,
    _port: Port,
}

impl Pages {
    fn at(port: Port) -> Self {
        let http = service_kit::mlflow::http::bare().no_proxy().build().unwrap();
        Self { url: format!("http://{}", port.address()), http, _port: port }
    }

    /// `/health`, as soon as there is one.
    pub(crate) async fn health(&self) -> Option<serde_json::Value> {
        self.http.get(format!("{}/health", self.url)).send().await.ok()?.json().await.ok()
    }

    /// How often it could not use MLflow, by its numbers.
    pub(crate) async fn outages(&self) -> u64 {
        let numbers = self.http.get(format!("{}/metrics", self.url)).send().await.unwrap();
        let numbers = numbers.text().await.unwrap();
        let count = numbers.lines().find_map(|line| line.strip_prefix("cerebros_sink_outages_total "));
        count.unwrap_or_else(|| panic!("{numbers}")).parse().unwrap()
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

//! A broker, the program, and a plain NATS client that knows nothing of us.

use std::process::{Output, Stdio};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::stream;
use schemas::subject::{DLQ_STREAM, STREAM};
use serde_json::Value;
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::topology::{self, CLASSIFIER_CONSUMER};
use testkit::{Nats, Scratch, wait_until};
use tokio::process::{Child, Command};

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Everything one test needs.
pub(crate) struct Room {
    pub(crate) broker: Broker,
    /// A client of somebody else's.
    pub(crate) stranger: async_nats::Client,
    pub(crate) scratch: Scratch,
    pub(crate) nats: Nats,
}

/// A running `serve`; killed on drop.
pub(crate) struct Serving {
    pub(crate) child: Child,
}

impl Room {
    pub(crate) async fn new() -> Self {
        let nats = Nats::start().await;
        let args = BrokerArgs { nats_url: Some(nats.url()), ..BrokerArgs::default() };
        let broker = Broker::connect(&args.resolve().unwrap(), "test", PATIENCE).await.unwrap();
        topology::ensure(&broker).await.unwrap();
        let stranger = async_nats::connect(nats.url()).await.unwrap();
        Self { broker, stranger, scratch: Scratch::new(), nats }
    }

    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlq-classifier"));
        command.env_clear().env("NATS_URL", self.nats.url()).env("CEREBROS_DATA_DIR", self.scratch.path());
        command.env("USER", "ann").current_dir(self.scratch.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(crate) fn serve(&self) -> Serving {
        let mut command = self.program();
        command.args(["serve", "--http", "127.0.0.1:0", "--log", "warn"]).stdout(Stdio::null());
        Serving { child: command.spawn().unwrap() }
    }

    /// Runs a command to its end.
    pub(crate) async fn dlq(&self, arguments: &[&str]) -> Output {
        let mut command = self.program();
        let output = command.args(arguments).output();
        tokio::time::timeout(PATIENCE, output).await.expect("a command ends").unwrap()
    }

    /// A command on its way; killed on drop. `dies_at` names the step of a replay at which it ends itself.
    pub(crate) fn start(&self, arguments: &[&str], dies_at: &str) -> Child {
        let mut command = self.program();
        command.args(arguments).env("DLQ_TEST_DIE_AT", dies_at).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs a command that has to succeed, and reads its JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.dlq(&[arguments, &["-o", "json"]].concat()).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until the queue lists so many entries.
    pub(crate) async fn entries(&self, count: usize) -> Vec<Value> {
        wait_until(&format!("the queue lists {count} entries"), PATIENCE, async || {
            let list = self.json(&["list"]).await.as_array().unwrap().clone();
            assert!(list.len() <= count, "{list:#?}");
            (list.len() == count).then_some(list)
        })
        .await
    }

    /// Publishes as a stranger would, and waits until the broker has it.
    pub(crate) async fn publish(&self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) {
        self.try_publish(subject, headers, payload).await.unwrap();
    }

    /// The same, with the broker's answer.
    pub(crate) async fn try_publish(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) -> Result<(), PublishError> {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| map.append(*name, *value));
        let jetstream = async_nats::jetstream::new(self.stranger.clone());
        let payload = payload.to_vec().into();
        jetstream.publish_with_headers(subject.to_owned(), map, payload).await?.await.map(drop)
    }

    pub(crate) async fn state(&self, stream: &str) -> stream::State {
        self.broker.jetstream.get_stream(stream).await.unwrap().cached_info().state.clone()
    }

    /// Waits until the classifier has settled every message there is.
    pub(crate) async fn settled(&self) {
        let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
        wait_until("the classifier settled everything", PATIENCE, async || {
            let consumer = stream.consumer_info(CLASSIFIER_CONSUMER).await.unwrap();
            (consumer.num_pending == 0 && consumer.num_ack_pending == 0).then_some(())
        })
        .await;
    }

    /// How many messages the dead-letter stream holds.
    pub(crate) async fn kept(&self) -> u64 {
        self.state(DLQ_STREAM).await.messages
    }

    /// A classifier's consumer whose deliveries come back soon; it is taken as it is found.
    pub(crate) async fn with_short_leases(&self) -> PullConsumer {
        let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
        stream.delete_consumer(CLASSIFIER_CONSUMER).await.unwrap();
        self.consumer(pull::Config {
            durable_name: Some(CLASSIFIER_CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(500),
            max_ack_pending: 5000,
            ..pull::Config::default()
        })
        .await
    }

    /// A durable consumer of the event stream.
    pub(crate) async fn consumer(&self, config: pull::Config) -> PullConsumer {
        let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
        stream.create_consumer(config).await.unwrap()
    }
}

/// The text of a field.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is no text in {value:#}"))
}

//! A broker, the program, and a plain NATS client that knows nothing of us.

use std::process::{Output, Stdio};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{self, AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream;
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt as _;
use schemas::subject::{DLQ_STREAM, EVENT_SUBJECTS, STREAM};
use serde_json::{Value, json};
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::topology::{self, CLASSIFIER_CONSUMER};
use testkit::{Cluster, Nats, Port, Scratch, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Longest wait for anything in these tests, on a machine whose two cores have other things to do as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Everything one test needs.
pub(crate) struct Room<N = Nats> {
    pub(crate) broker: Broker,
    /// A client of somebody else's.
    pub(crate) stranger: async_nats::Client,
    pub(crate) scratch: Scratch,
    pub(crate) nats: N,
    url: String,
}

/// So long a consumer of a test waits for a word while nothing is to run out.
pub(crate) const LONG_LEASE: Duration = Duration::from_secs(60);

/// A running `serve`; killed on drop.
pub(crate) struct Serving {
    pub(crate) child: Child,
    /// Nobody else's for as long as somebody may ask for its pages.
    port: Port,
}

impl Serving {
    /// A page of its health server; empty while there is none.
    pub(crate) async fn page(&self, path: &str) -> String {
        let Ok(mut socket) = TcpStream::connect(self.port.address()).await else { return String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nHost: classifier\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        if socket.write_all(request.as_bytes()).await.is_ok() {
            // What came before the connection broke is all there is.
            let _ = socket.read_to_string(&mut answer).await;
        }
        answer
    }

    /// Waits until the service says that it is not ready, with these words.
    pub(crate) async fn is_unready(&self, words: &str) {
        wait_until(&format!("the classifier is not ready: {words}"), PATIENCE, async || {
            let is_unready = self.page("/readyz").await.starts_with("HTTP/1.1 503");
            (is_unready && self.page("/health").await.contains(words)).then_some(())
        })
        .await;
    }

    /// Waits until the service says that it is ready.
    pub(crate) async fn is_ready(&self) {
        wait_until("the classifier is ready", PATIENCE, async || {
            self.page("/readyz").await.starts_with("HTTP/1.1 200").then_some(())
        })
        .await;
    }

    /// SIGTERM, and its end.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
    }

    /// SIGKILL, and its end.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Room {
    pub(crate) async fn new() -> Self {
        Self::on(Nats::start().await).await
    }

    /// On a broker of one's own.
    pub(crate) async fn on(nats: Nats) -> Self {
        let url = nats.url();
        Self::at(nats, url, 1).await
    }
}

impl Room<Cluster> {
    pub(crate) async fn on_three_nodes() -> Self {
        let cluster = Cluster::start().await;
        let url = cluster.url();
        Self::at(cluster, url, 3).await
    }
}

impl<N> Room<N> {
    async fn at(nats: N, url: String, replicas: u8) -> Self {
        let args = BrokerArgs { nats_url: Some(url.clone()), replicas, ..BrokerArgs::default() };
        let broker = Broker::connect(&args.resolve().unwrap(), "test", PATIENCE).await.unwrap();
        // A cluster answers before it can store anything.
        wait_until("the topology is there", PATIENCE, async || topology::ensure(&broker).await.ok()).await;
        let servers: Vec<&str> = url.split(',').collect();
        let stranger = async_nats::connect(servers).await.unwrap();
        Self { broker, stranger, scratch: Scratch::new(), nats, url }
    }

    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlq-classifier"));
        command.env_clear().env("NATS_URL", &self.url).env("CEREBROS_DATA_DIR", self.scratch.path());
        command.env("USER", "ann").current_dir(self.scratch.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(crate) fn serve(&self) -> Serving {
        self.serve_with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Serving {
        self.serve_heard_by(Stdio::inherit(), arguments)
    }

    /// The same with a standard error of its own, for one whose words are no news of the test.
    pub(crate) fn serve_into(&self, log: &str) -> Serving {
        self.serve_into_with(log, &[])
    }

    /// Both.
    pub(crate) fn serve_into_with(&self, log: &str, arguments: &[&str]) -> Serving {
        let log = std::fs::File::create(self.scratch.join(log)).unwrap();
        self.serve_heard_by(log.into(), arguments)
    }

    /// A service that ends itself at a step.
    pub(crate) fn serve_until(&self, step: &str, arguments: &[&str]) -> Serving {
        self.serve_as(Stdio::inherit(), arguments, step)
    }

    fn serve_heard_by(&self, stderr: Stdio, arguments: &[&str]) -> Serving {
        self.serve_as(stderr, arguments, "")
    }

    fn serve_as(&self, stderr: Stdio, arguments: &[&str], dies_at: &str) -> Serving {
        let port = Port::new();
        let mut command = self.program();
        command
            .args(["serve", "--http", &port.address().to_string(), "--log", "warn"])
            .env("DLQ_TEST_DIE_AT", dies_at)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(stderr);
        Serving { child: command.spawn().unwrap(), port }
    }

    /// Runs a command to its end.
    pub(crate) async fn dlq(&self, arguments: &[&str]) -> Output {
        let mut command = self.program();
        let output = command.args(arguments).output();
        tokio::time::timeout(PATIENCE, output).await.expect("a command ends").unwrap()
    }

    /// The same of a program to which so few letters are a page.
    pub(crate) async fn dlq_paged(&self, page: usize, arguments: &[&str]) -> Output {
        let mut command = self.program();
        let output = command.args(arguments).env("DLQ_TEST_PAGE", page.to_string()).output();
        tokio::time::timeout(PATIENCE, output).await.expect("a command ends").unwrap()
    }

    /// One of its kind on its way; killed on drop.
    pub(crate) fn start_paged(&self, page: usize, arguments: &[&str]) -> Child {
        let mut command = self.program();
        command.args(arguments).env("DLQ_TEST_PAGE", page.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A command on its way; killed on drop. `dies_at` names the step of a replay at which it ends itself.
    pub(crate) fn start(&self, arguments: &[&str], dies_at: &str) -> Child {
        let mut command = self.program();
        command.args(arguments).env("DLQ_TEST_DIE_AT", dies_at).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// A command that stands still at a step of a replay until it is woken.
    pub(crate) fn start_held_up(&self, arguments: &[&str], step: &str) -> Child {
        let mut command = self.program();
        command.args(arguments).env("DLQ_TEST_STOP_AT", step).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs a command that has to succeed, and reads its JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        self.json_and_exit(arguments, 0).await
    }

    /// The same for a replay of several of which one has to be invalid.
    pub(crate) async fn json_with_findings(&self, arguments: &[&str]) -> Value {
        self.json_and_exit(arguments, 9).await
    }

    async fn json_and_exit(&self, arguments: &[&str], exit: i32) -> Value {
        let output = self.dlq(&[arguments, &["-o", "json"]].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
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

    /// Announces a run that is trained elsewhere.
    pub(crate) async fn announce(&self, run: &str) {
        let start = format!(r#"{{"run_id":"{run}","timestamp":"2026-01-01T00:00:00Z"}}"#);
        self.publish("ml.run.start", &[], start.as_bytes()).await;
    }

    pub(crate) async fn state(&self, stream: &str) -> stream::State {
        self.broker.jetstream.get_stream(stream).await.unwrap().cached_info().state.clone()
    }

    /// Waits until the classifier has settled every message there is.
    pub(crate) async fn settled(&self) {
        let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
        wait_until("the classifier settled everything", PATIENCE, async || {
            // A consumer hears of a message a moment after the stream has taken it in.
            let last = self.last_event().await?;
            let consumer = stream.consumer_info(CLASSIFIER_CONSUMER).await.unwrap();
            let has_heard = consumer.delivered.stream_sequence >= last;
            (has_heard && consumer.num_pending == 0 && consumer.num_ack_pending == 0).then_some(())
        })
        .await;
    }

    /// Sequence of the last event on the stream, of which a client may be able to read nothing else; 0 while there is none.
    async fn last_event(&self) -> Option<u64> {
        let mut last = 0;
        for subject in EVENT_SUBJECTS {
            let request = format!("STREAM.MSG.GET.{STREAM}");
            let asked = self.broker.jetstream.request(request, &json!({ "last_by_subj": subject })).await;
            let sequence = match asked.ok()? {
                Response::Ok::<Value>(answer) => answer["message"]["seq"].as_u64()?,
                Response::Err { error } if error.code() == 404 => 0,
                Response::Err { .. } => return None,
            };
            last = last.max(sequence);
        }
        Some(last)
    }

    /// How many messages a consumer of the event stream has not been handed, and how many it has not settled.
    pub(crate) async fn waiting(&self, consumer: &str) -> (u64, usize) {
        let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
        let info = stream.consumer_info(consumer).await.unwrap();
        (info.num_pending, info.num_ack_pending)
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

    /// Changes how long a consumer of the event stream waits for a word, also about what is in hand already.
    ///
    /// What is to be settled is taken under a long lease: the broker takes what has run out of its hands for settled with the
    /// next ack, whether or not that one came for it.
    pub(crate) async fn lease(&self, consumer: &PullConsumer, ack_wait: Duration) {
        let stream = self.broker.jetstream.get_stream_no_info(STREAM).await.unwrap();
        let known = stream.consumer_info(&consumer.cached_info().name).await.unwrap().config;
        stream.update_consumer(consumer::Config { ack_wait, ..known }).await.unwrap();
    }
}

/// The text of a field.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is no text in {value:#}"))
}

/// Takes so many messages of a consumer and settles none. A consumer hears of a message a moment after the stream has taken
/// it in, so it is waited for.
pub(crate) async fn take(consumer: &PullConsumer, count: usize) -> Vec<Message> {
    let batch = consumer.batch().max_messages(count).expires(PATIENCE).messages().await.unwrap();
    let taken: Vec<Message> = batch.take(count).map(Result::unwrap).collect().await;
    assert_eq!(taken.len(), count, "the consumer has so many");
    taken
}

/// The next message of a consumer.
pub(crate) async fn next(consumer: &PullConsumer) -> Message {
    take(consumer, 1).await.remove(0)
}

/// Hands messages back at once: the next delivery of each is its second, however slow the broker is.
pub(crate) async fn hand_back(messages: Vec<Message>) {
    for message in messages {
        message.ack_with(AckKind::Nak(None)).await.unwrap();
    }
}

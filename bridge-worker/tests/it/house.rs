//! A broker, workers, and an eye on the stream.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schemas::event::TrialReported;
use schemas::subject::STREAM;
use schemas::{Event, RunId};
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::history::History;
use service_kit::registry::{Registry, RunRecord};
use service_kit::topology;
use testkit::{Nats, Scratch, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Longest wait for anything in these tests; a busy machine with two cores imports scikit-learn in seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Longest wait for the end of processes that were killed: theirs is a moment's work, the machine's may be longer.
pub(crate) const GONE: Duration = Duration::from_secs(30);

/// What a cancel may take, as the documentation promises it.
pub(crate) const PROMISED: Duration = Duration::from_secs(2);

/// Every trial may end.
pub(crate) const ALL: u32 = u32::MAX;

/// What a worker says when it drains.
const DRAINS: &str = "a second signal stops at once";

/// The import of scikit-learn takes seconds of every start of a child, and most tests train nothing with it: one that is
/// about the start of such a child says so by a `--preload` of its own.
const LIGHT: [&str; 2] = ["--preload", "noop"];

/// A broker of this test's own.
pub(crate) struct House {
    pub(crate) nats: Nats,
    pub(crate) broker: Broker,
    pub(crate) registry: Registry,
    pub(crate) scratch: Scratch,
}

/// A worker process; killed with the test.
pub(crate) struct WorkerProcess {
    pub(crate) child: Child,
}

impl House {
    pub(crate) async fn open() -> Self {
        let nats = Nats::start().await;
        let target = BrokerTarget::at(&nats.url()).unwrap();
        let broker = Broker::connect(&target, "test", Duration::from_secs(10)).await.unwrap();
        topology::ensure(&broker).await.unwrap();
        let registry = Registry::open(&broker).await.unwrap();
        Self { nats, broker, registry, scratch: Scratch::new() }
    }

    /// Starts a worker with open gates.
    pub(crate) async fn worker(&self, arguments: &[&str]) -> WorkerProcess {
        self.worker_with(arguments, &[("CEREBROS_ENABLED", "true"), ("FEATURES", "ml_nas")]).await
    }

    /// The same, reaching the broker at `url`.
    pub(crate) async fn worker_at(&self, url: &str, arguments: &[&str]) -> WorkerProcess {
        let gates = [("CEREBROS_ENABLED", "true"), ("FEATURES", "ml_nas"), ("NATS_URL", url)];
        self.worker_with(arguments, &gates).await
    }

    /// Starts a worker with exactly these variables about gates and broker.
    pub(crate) async fn worker_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> WorkerProcess {
        let python = testkit::trainer_python().await;
        let fixtures = testkit::workspace().join("python/tests/fixtures");
        let log =
            std::fs::File::options().create(true).append(true).open(self.scratch.join("worker.log")).unwrap();
        let preload = if arguments.contains(&"--preload") { &[][..] } else { &LIGHT[..] };
        let child = Command::new(env!("CARGO_BIN_EXE_bridge-worker"))
            .arg("serve")
            .args(["--http", "127.0.0.1:0"])
            .args(preload)
            .args(arguments)
            .env_remove("CEREBROS_ENABLED")
            .env_remove("FEATURES")
            .env("NATS_URL", self.nats.url())
            // What is to be trained is trained; the tests of the cache turn it on by a flag.
            .env("CEREBROS_CACHE_ENABLED", "false")
            .envs(environment.iter().copied())
            .env("CEREBROS_DATA_DIR", self.scratch.path())
            .env("CEREBROS_PYTHON", python)
            .env("CEREBROS_REPO", fixtures)
            // A test that wants one says so: each costs the time of an import.
            .env("CEREBROS_SPARES", "0")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        WorkerProcess { child }
    }

    /// Resolves when a worker has written `words` into its log.
    pub(crate) async fn says_in_its_log(&self, words: &str) {
        self.says_more_than(0, words).await;
    }

    async fn says_more_than(&self, times: usize, words: &str) {
        let what = format!("a worker says {words:?}");
        wait_until(&what, PATIENCE, async || (self.said(words) > times).then_some(())).await;
    }

    /// How often the workers have written `words` into their log.
    fn said(&self, words: &str) -> usize {
        let log = std::fs::read(self.scratch.join("worker.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).matches(words).count()
    }

    /// Where a search is told by [`House::free`] how many of its trials may end: its parameter `free`.
    pub(crate) fn held(&self) -> PathBuf {
        self.scratch.join("free")
    }

    /// Lets the first `count` trials end. The others wait, so that a run is not over before the test has done to it what it
    /// is about, however late that is.
    pub(crate) fn free(&self, count: u32) {
        std::fs::write(self.held(), count.to_string()).unwrap();
    }

    /// Publishes bytes as any NATS client would: no headers, no acknowledgement asked for.
    pub(crate) async fn publish_plain(&self, subject: &'static str, payload: impl Into<Bytes>) {
        self.broker.client.publish(subject, payload.into()).await.unwrap();
        self.broker.client.flush().await.unwrap();
    }

    pub(crate) async fn request(&self, body: serde_json::Value) {
        self.publish_plain("cerebros.nas.run.requested", body.to_string()).await;
    }

    /// Every event of a run so far.
    pub(crate) async fn events(&self, run: &str) -> Vec<Event> {
        let run = RunId::parse(run).unwrap();
        let mut history = History::to_the_present(&self.broker, STREAM, &[], 1).await.unwrap();
        let mut events = Vec::new();
        while let Some(kept) = history.next().await.unwrap() {
            let Ok(decoded) = kept.decode() else {
                continue;
            };
            if decoded.event.run_id() == Some(&run) {
                events.push(decoded.event);
            }
        }
        events
    }

    pub(crate) async fn trials(&self, run: &str) -> Vec<TrialReported> {
        let trial = |event| if let Event::TrialReported(trial) = event { Some(trial) } else { None };
        let mut trials: Vec<_> = self.events(run).await.into_iter().filter_map(trial).collect();
        trials.sort_by_key(|trial| trial.number);
        trials
    }

    pub(crate) async fn record(&self, run: &str) -> Option<RunRecord> {
        self.registry.get(&RunId::parse(run).unwrap()).await.unwrap().map(|held| held.record)
    }

    /// Waits for the end of a run in the registry, which is written last.
    pub(crate) async fn ended(&self, run: &str) -> RunRecord {
        let log = self.scratch.join("worker.log");
        wait_until(&format!("run {run} ended; see {}", log.display()), PATIENCE, async || {
            self.record(run).await.filter(|record| record.state.is_final())
        })
        .await
    }

    /// Waits until a trial of a run is training, as the registry has it.
    pub(crate) async fn training(&self, run: &str) -> RunRecord {
        wait_until(&format!("a trial of {run} is training"), PATIENCE, async || {
            self.record(run).await.filter(|record| record.running_trials > 0)
        })
        .await
    }

    /// Waits until a run has reported so many trials.
    pub(crate) async fn trained(&self, run: &str, count: usize) {
        wait_until(&format!("{count} trials of {run}"), PATIENCE, async || {
            (self.trials(run).await.len() >= count).then_some(())
        })
        .await;
    }

    /// The run of every event on a subject, in order.
    pub(crate) async fn runs_on(&self, subject: &str) -> Vec<String> {
        let mut history = History::to_the_present(&self.broker, STREAM, &[subject], 1).await.unwrap();
        let mut runs = Vec::new();
        while let Some(kept) = history.next().await.unwrap() {
            runs.extend(kept.headers.get(schemas::cloudevents::header::RUN_ID).map(str::to_owned));
        }
        runs
    }

    /// How many events there are on a subject.
    pub(crate) async fn count(&self, subject: &str) -> usize {
        self.runs_on(subject).await.len()
    }

    /// Messages the worker consumer has not settled.
    pub(crate) async fn unsettled(&self) -> usize {
        let stream = self.broker.jetstream.get_stream(STREAM).await.unwrap();
        let info = stream.consumer_info(topology::WORKER_CONSUMER).await.unwrap();
        info.num_ack_pending + usize::try_from(info.num_pending).unwrap()
    }

    pub(crate) async fn dead_letters(&self) -> Vec<service_kit::history::Kept> {
        let mut history = History::to_the_present(&self.broker, "CEREBROS_DLQ", &[], 1).await.unwrap();
        let mut letters = Vec::new();
        while let Some(kept) = history.next().await.unwrap() {
            letters.push(kept);
        }
        letters
    }
}

/// A page that a worker serves at `address`.
pub(crate) async fn page(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

impl WorkerProcess {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the worker has not been waited for")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// SIGKILL, and the proof that no child outlives it.
    pub(crate) async fn kill_hard(mut self) {
        let family = testkit::processes::descendants(self.pid());
        self.signal(Signal::SIGKILL);
        self.child.wait().await.unwrap();
        testkit::processes::wait_until_gone("the killed worker's children", &family, GONE).await;
    }

    /// SIGTERM, and the proof that it ends well and leaves nothing.
    pub(crate) async fn stop(self) {
        self.stop_and(async || ()).await;
    }

    /// The same for one whose trials wait: those in hand, the last of the first `count`, are let go when no other is begun.
    pub(crate) async fn stop_held(self, house: &House, count: u32) {
        let before = house.said(DRAINS);
        let when_it_drains = async || {
            house.says_more_than(before, DRAINS).await;
            house.free(count);
        };
        self.stop_and(when_it_drains).await;
    }

    async fn stop_and(mut self, meanwhile: impl AsyncFnOnce()) {
        let family = testkit::processes::descendants(self.pid());
        self.signal(Signal::SIGTERM);
        meanwhile().await;
        let status = tokio::time::timeout(Duration::from_secs(40), self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
        testkit::processes::wait_until_gone("the stopped worker's children", &family, GONE).await;
    }
}

/// The least of up to three measurements, none after one that is within `limit`: what the machine does meanwhile makes any
/// of them longer, and none shorter than what is measured.
pub(crate) async fn least(limit: Duration, mut measure: impl AsyncFnMut(u32) -> Duration) -> Duration {
    let mut least = Duration::MAX;
    for number in 0..3 {
        least = least.min(measure(number).await);
        if least < limit {
            break;
        }
    }
    least
}

/// Has a run cancelled; how long that takes, and how the run is then.
pub(crate) async fn cancelled(house: &House, run: &str) -> (Duration, RunRecord) {
    let asked = Instant::now();
    let body = serde_json::json!({"run_id": run, "reason": "enough"}).to_string();
    house.publish_plain("cerebros.nas.run.cancel_requested", body).await;
    let record = house.ended(run).await;
    (asked.elapsed(), record)
}

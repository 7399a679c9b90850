//! Celery with Redis: its worker, and its client in a Python process that is told what to submit.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use local_stack::process::{Launch, Supervised};
use serde::Deserialize;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::ours::Sample;
use super::redis::Redis;
use crate::cli::progress;
use crate::environments::{peer_scripts, peers_python, redis_server};
use crate::faults;
use crate::stand::Stand;
use crate::timings::Timings;

/// The client gives up after a minute on its own.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// Celery, running.
pub(super) struct Celery {
    // In the order in which they have to end.
    _client: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _worker: Supervised,
    _redis: Redis,
}

#[derive(Deserialize)]
struct Answer {
    seconds: Vec<f64>,
}

impl Celery {
    /// Starts Redis, a worker with a pool of so many processes, and a client. The inner error says why Celery cannot
    /// be measured on this machine.
    pub(super) async fn start(
        stand: &Stand,
        sample: &Sample,
        pool: usize,
    ) -> Result<Result<Self, String>, CliError> {
        let python = match peers_python().await {
            Ok(python) => python,
            Err(error) => return Ok(Err(format!("{error}; {}", error.help()))),
        };
        let server = match redis_server().await {
            Ok(server) => server,
            Err(reason) => return Ok(Err(reason)),
        };
        progress(format!("starting Celery with {}", server.display()));
        let dir = stand.dir().join("celery");
        std::fs::create_dir_all(&dir)?;
        let redis = Redis::start(&server, &dir).await?;
        let environment = [
            ("BENCH_REDIS", redis.url()),
            ("BENCH_REQUEST", sample.request.clone()),
            ("BENCH_RESULT", sample.ending.clone()),
            ("PYTHONPATH", peer_scripts().display().to_string()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ];
        let worker = worker(&python, &dir, pool, &environment).await?;
        let log = std::fs::File::create(dir.join("client.log"))?;
        let mut client = Command::new(&python)
            .arg(peer_scripts().join("celery_client.py"))
            .envs(environment)
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let orders = client.stdin.take().expect("stdin was asked to be a pipe");
        let answers = BufReader::new(client.stdout.take().expect("stdout was asked to be a pipe")).lines();
        let mut celery = Self { _client: client, orders, answers, _worker: worker, _redis: redis };
        // The first answer comes when the worker is up.
        celery.order("latency", 1).await?;
        Ok(Ok(celery))
    }

    /// Submits many at once; returns the time until every result is stored.
    pub(super) async fn stored(&mut self, count: usize) -> Result<Duration, CliError> {
        self.whole("stored", count).await
    }

    /// The same until every result is collected by Celery's own client.
    pub(super) async fn collected(&mut self, count: usize) -> Result<Duration, CliError> {
        self.whole("collected", count).await
    }

    /// Submits one by one and records how long each took.
    pub(super) async fn latency(&mut self, count: usize, timings: &mut Timings) -> Result<(), CliError> {
        let answer = self.order("latency", count).await?;
        answer.into_iter().map(Duration::from_secs_f64).for_each(|took| timings.record(took));
        Ok(())
    }

    async fn whole(&mut self, order: &str, count: usize) -> Result<Duration, CliError> {
        let seconds = self.order(order, count).await?;
        seconds.first().copied().map(Duration::from_secs_f64).ok_or_else(|| silent("it measured nothing"))
    }

    async fn order(&mut self, order: &str, count: usize) -> Result<Vec<f64>, CliError> {
        let line = serde_json::json!({"do": order, "count": count}).to_string() + "\n";
        self.orders.write_all(line.as_bytes()).await.map_err(silent)?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.answers.next_line()).await;
        let answer = answer.map_err(|_| faults::silent("the answer of Celery's client", ANSWER_LIMIT))?;
        let line = answer.map_err(silent)?.ok_or_else(|| silent("its client ended"))?;
        serde_json::from_str::<Answer>(&line).map(|answer| answer.seconds).map_err(silent)
    }
}

async fn worker(
    python: &Path,
    dir: &Path,
    pool: usize,
    environment: &[(&str, String)],
) -> Result<Supervised, CliError> {
    let mut launch = Launch::new(python, dir.join("worker.log"))
        .args(["-m", "celery", "-A", "celery_app", "worker", "--pool", "prefork", "--loglevel", "WARNING"])
        .args(["--concurrency".to_owned(), pool.to_string()])
        .cwd(dir);
    for (name, value) in environment {
        launch = launch.env(name, value);
    }
    Supervised::spawn(launch).await.map_err(|error| faults::not_spawned(&error))
}

fn silent(because: impl std::fmt::Display) -> CliError {
    CliError::new("celery-silent", Exit::Unreachable, "Celery does not answer")
        .because(because)
        .help("run its worker by hand: bench/peers/celery_app.py")
}

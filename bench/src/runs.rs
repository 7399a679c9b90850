//! No-op runs through the whole path, beside Celery with Redis and FastStream on JetStream.
//!
//! Ours: the request is persisted, a worker claims it, one trial is trained in an isolated Python process, the terminal
//! event is persisted. Celery: the task is in Redis, one of two processes of its pool executes it, the result is in
//! Redis. FastStream: the request is persisted, a Python process handles it, an event is persisted. Requests and
//! endings have the sizes of ours on all sides. Two slots, two processes of a pool, two processes.

mod celery;
mod faststream;
pub(crate) mod ours;
mod redis;

use std::time::Duration;

use service_kit::error::CliError;

use crate::cli::{Effort, progress};
use crate::process_table;
use crate::programs::Programs;
use crate::stand::Stand;
use crate::stream_client::StreamClient;
use crate::table::{Figure, Finding, Peer, Ratio, Target, Unit};
use crate::timings::{Timings, median};
use celery::Celery;
use faststream::FastStream;

/// Slots of our worker, processes of Celery's pool, processes of FastStream.
const PARALLEL: usize = 2;
/// Runs before anything is recorded.
const WARM_UP: usize = 60;
/// Name of the rows about throughput.
const PER_SECOND: &str = "runs: per second";
/// What is promised: throughput, and the median from submission to completion, beside Celery and beside FastStream.
const BESIDE_CELERY: (Target, Target) = (Target::RatioAtLeast(6.0), Target::RatioAtMost(0.5));
const BESIDE_FASTSTREAM: (Target, Target) = (Target::RatioAtLeast(2.0), Target::None);

/// What one contender showed.
struct Score {
    /// Ended a second, by round.
    rates: Vec<f64>,
    /// From the submission to the ending, one at a time.
    latency: Timings,
}

/// Who is measured.
enum Contender<'a> {
    Stream(&'a StreamClient),
    Celery(&'a mut Celery),
}

/// Everybody, running, and what they showed so far.
struct Contest {
    ours: StreamClient,
    celery: Result<Celery, String>,
    faststream: Result<FastStream, String>,
    /// Ours, Celery's, FastStream's.
    scores: [Score; 3],
    /// Rates of Celery when its own client collects the results.
    collected: Vec<f64>,
}

/// Measures throughput and latency of all contenders in turns.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let programs = Programs::build(&["bridge-worker"]).await?;
    let stand = Stand::open().await?;
    let worker = stand.worker(&programs, PARALLEL).await?;
    let mut contest = Contest::open(&stand).await?;
    let (rounds, runs, probes) = effort.choose((3, 100, 30), (4, 500, 100));
    progress(format!("{rounds} rounds of {runs} runs at once and {probes} one by one, for each in turn"));
    contest.round(0, WARM_UP, WARM_UP).await?;
    contest.forget();
    for round in 1..=rounds {
        contest.round(round, runs, probes).await?;
    }
    let resident = process_table::resident(worker.pid())?;
    worker.stop().await;
    let done = rounds * (runs + probes) + 3 * WARM_UP;
    let mut findings = contest.findings();
    findings.push(Finding::alone(format!("memory: bridge-worker after {done} runs"), resident, Target::None));
    Ok(findings)
}

impl Contest {
    /// Starts the peers; ours is there.
    async fn open(stand: &Stand) -> Result<Self, CliError> {
        let ours = ours::client(stand.connect().await?, ours::noop);
        let sample = ours::sample(&ours, WARM_UP).await?;
        progress(format!("a request has {} bytes, an ending {}", sample.request.len(), sample.ending.len()));
        let celery = Celery::start(stand, &sample, PARALLEL).await?;
        let faststream = FastStream::start(stand, &sample, PARALLEL).await?;
        let scores = [Score::new(), Score::new(), Score::new()];
        Ok(Self { ours, celery, faststream, scores, collected: Vec::new() })
    }

    /// Everybody once. Who begins changes from round to round.
    async fn round(&mut self, round: usize, runs: usize, probes: usize) -> Result<(), CliError> {
        for place in 0..self.scores.len() {
            let who = (round + place) % self.scores.len();
            let contender = match who {
                0 => Some(Contender::Stream(&self.ours)),
                1 => self.celery.as_mut().ok().map(Contender::Celery),
                _ => self.faststream.as_ref().ok().map(|faststream| Contender::Stream(&faststream.client)),
            };
            if let Some(mut contender) = contender {
                contender.once(runs, probes, &mut self.scores[who]).await?;
            }
        }
        if let Ok(celery) = &mut self.celery {
            self.collected.push(rate(runs, celery.collected(runs).await?));
        }
        Ok(())
    }

    /// What was shown until now was a warm-up.
    fn forget(&mut self) {
        self.scores = [Score::new(), Score::new(), Score::new()];
        self.collected.clear();
    }

    fn findings(&self) -> Vec<Finding> {
        let [ours, of_celery, of_faststream] = &self.scores;
        let missing_celery = self.celery.as_ref().err().map_or("", String::as_str);
        let missing_faststream = self.faststream.as_ref().err().map_or("", String::as_str);
        let mut findings = beside(ours, of_celery, "Celery, Redis", BESIDE_CELERY, missing_celery);
        if let Some(rate) = median(&self.collected) {
            let peer =
                Peer::new("Celery, results collected by its client", Figure::new(rate, Unit::PerSecond));
            findings.push(Finding::beside(PER_SECOND, ours.rate(), peer, Ratio::OursByPeer, Target::None));
        }
        let peer = "FastStream, JetStream";
        findings.extend(beside(ours, of_faststream, peer, BESIDE_FASTSTREAM, missing_faststream));
        findings
    }
}

impl Contender<'_> {
    /// One round: many at once, then one by one.
    async fn once(&mut self, runs: usize, probes: usize, score: &mut Score) -> Result<(), CliError> {
        let took = match self {
            Self::Stream(client) => client.throughput(runs).await?,
            Self::Celery(celery) => celery.stored(runs).await?,
        };
        score.rates.push(rate(runs, took));
        match self {
            Self::Stream(client) => client.latency(probes, &mut score.latency).await.map(drop),
            Self::Celery(celery) => celery.latency(probes, &mut score.latency).await,
        }
    }
}

impl Score {
    fn new() -> Self {
        Self { rates: Vec::new(), latency: Timings::new() }
    }

    fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }

    fn rate(&self) -> Figure {
        Figure::new(median(&self.rates).unwrap_or_default(), Unit::PerSecond)
    }
}

fn beside(
    ours: &Score,
    theirs: &Score,
    name: &str,
    (throughput, latency): (Target, Target),
    missing: &str,
) -> Vec<Finding> {
    let spread = |score: &Score| {
        let fold = |pick: fn(f64, f64) -> f64, start| score.rates.iter().copied().fold(start, pick);
        format!("{:.0} to {:.0}", fold(f64::min, f64::INFINITY), fold(f64::max, 0.0))
    };
    let row = |title: &str, pick: fn(&Score) -> Figure, target| {
        if theirs.is_empty() {
            return Finding::without_peer(title, pick(ours), name, target, missing);
        }
        let rounds = format!("runs a second by round: ours {}, theirs {}", spread(ours), spread(theirs));
        let peer = Peer::new(name, pick(theirs));
        Finding::beside(title, pick(ours), peer, Ratio::OursByPeer, target).with_remark(rounds)
    };
    let p50 = |score: &Score| Figure::millis(score.latency.p50());
    let p99 = |score: &Score| Figure::millis(score.latency.p99());
    vec![
        row(PER_SECOND, Score::rate, throughput),
        row("runs: submit to completed, p50", p50, latency),
        row("runs: submit to completed, p99", p99, Target::None),
    ]
}

fn rate(count: usize, took: Duration) -> f64 {
    // Counts of some thousands are exact in floating point.
    #[expect(clippy::cast_precision_loss)]
    let count = count as f64;
    count / took.as_secs_f64()
}

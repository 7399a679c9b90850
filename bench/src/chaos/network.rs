//! The broker crashes, and the way to it fails in every way the proxy knows: the run completes, and nothing of it is
//! stored twice. One worker lives through all of it, with one run for each trouble.

use std::time::Duration;

use service_kit::topology::ACK_WAIT;
use testkit::{Fault, Proxy};
use tokio::time::{Instant, sleep};

use super::arena::Arena;
use super::audit;
use super::moments::Moments;
use super::report::{Halt, Report};
use crate::cli::{Effort, progress};

const TRIALS: u32 = 40;
/// Trials before the first trouble, and between two crashes of the broker.
const EVERY: usize = 8;
/// Crashes of the broker during one run.
const CRASHES: usize = 3;
/// How long a crashed broker stays away.
const LONGEST_ABSENCE: Duration = Duration::from_secs(2);
/// How long a cut line stays cut.
const CUT: Duration = Duration::from_secs(3);
/// Bytes a second through the throttled line, about a tenth of what the run would use.
const THROTTLE: u32 = 16 * 1024;

#[derive(Debug, Clone, Copy)]
struct Trouble {
    run: &'static str,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// The broker is killed and started again.
    BrokerKilled,
    /// So it is for so long, then all is well.
    For(Fault, Duration),
    /// So it is to the end of the run.
    ToTheEnd(Fault),
}

const TROUBLES: [Trouble; 5] = [
    Trouble { run: "broker-killed", what: What::BrokerKilled },
    Trouble { run: "line-cut", what: What::For(Fault::Cut, CUT) },
    Trouble { run: "silent-for-5-s", what: What::For(Fault::BlackHole, Duration::from_secs(5)) },
    Trouble { run: "throttled", what: What::ToTheEnd(Fault::Throttle(THROTTLE)) },
    // Longer than the lease.
    Trouble { run: "silent-for-40-s", what: What::For(Fault::BlackHole, Duration::from_secs(40)) },
];

impl What {
    /// A worker that is silent for longer than its lease may be taken for lost, once.
    fn most_losses(self) -> u32 {
        match self {
            Self::For(Fault::BlackHole, time) if time > ACK_WAIT => 1,
            Self::BrokerKilled | Self::For(..) | Self::ToTheEnd(_) => 0,
        }
    }
}

/// Plays it.
pub(super) async fn play(
    arena: &mut Arena,
    report: &mut Report,
    effort: Effort,
    moments: &mut Moments,
) -> Result<(), Halt> {
    let proxy = Proxy::start(&arena.stand.url()).await;
    let worker = arena.worker_at("worker", &proxy.url()).await?;
    for trouble in &TROUBLES[..effort.choose(4, 5)] {
        progress(format!("trouble: {}", trouble.run));
        let began = Instant::now();
        let run = arena
            .submit(serde_json::json!({
                "run_id": trouble.run, "dataset_id": "digits", "trainer": "faulty_trainers:sleeps_in_slices",
                "seed": 5, "search_space": {"seconds": [0.1], "x": {"low": 0.0, "high": 1.0}},
                "budget": {"max_trials": TRIALS, "population_size": 5, "parallelism": 2},
            }))
            .await?;
        arena.trained(&run, EVERY).await?;
        match trouble.what {
            What::BrokerKilled => {
                for crash in 1..=CRASHES {
                    arena.trained(&run, crash * EVERY).await?;
                    arena.stand.kill_broker().await;
                    sleep(moments.within(LONGEST_ABSENCE)).await;
                    arena.stand.restart_broker().await?;
                }
            }
            What::For(fault, time) => {
                proxy.set(fault);
                sleep(time).await;
                proxy.set(Fault::Pass);
            }
            What::ToTheEnd(fault) => proxy.set(fault),
        }
        let record = arena.ended(&run).await?;
        proxy.set(Fault::Pass);
        report.took(trouble.run, began.elapsed());
        report.broke(audit::broken_by(&run, &arena.timeline.of(&run), TRIALS));
        let (losses, failures) = (record.worker_losses, record.failures);
        let most = trouble.what.most_losses();
        report.expect(failures == 0, || format!("run {run}: {failures} failures"));
        report.expect(losses <= most, || {
            format!("run {run}: {losses} worker losses instead of {most} at most; the worker never died")
        });
    }
    worker.stop(report).await;
    arena.settled().await
}

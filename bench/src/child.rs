//! A call to a Python child: beside a bare pipe, and beside what it replaces, a process per call.
//!
//! The bare pipe is the fairest raw thing there is: the same interpreter, the same tokio runtime and pipes, the same
//! request bytes; the parent writes one frame and reads one, the child reads, parses, serialises and writes. What is
//! on top of it in ours (checked lengths, heartbeats, stop orders, captured output, results by type) is the ratio.

mod bare;
mod script;
mod spare;
mod window;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bridge_worker::child::protocol::{Call, CallResult, FromChild, ToChild, TrialContext};
use bridge_worker::child::{Child, ChildSettings, Lost};
use bridge_worker::runtime;
use bridge_worker::slots::Slots;
use schemas::event::TrialStatus;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use tokio::process::Command;
use tokio::time::Instant;

use crate::cli::{Effort, progress};
use crate::environments::{scratch, trainer_python};
use crate::table::{Figure, Finding, Peer, Ratio, Target};
use crate::timings::Timings;
use bare::BareChild;

/// Calls to one side before it is the other's turn.
const BLOCK: usize = 100;
/// Blocks of one pair of children that are recorded. The speed of a pair hardly changes while it lives and differs
/// between pairs: by a fifth with the cores the two processes are on, and now and then ours takes nearly twice as long
/// for a reason that is not known yet. One pair would make the verdict a matter of luck; so there are many, and the
/// slowest has a row of its own, because a median over all of them hides it.
const BLOCKS: usize = 10;
/// What a process per call has to do before it can train anything.
const IMPORT: &str = "from sklearn.neural_network import MLPClassifier";
/// Deadline of one such process.
const SPAWN_LIMIT: Duration = Duration::from_secs(120);

/// Measures round trips.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let python = trainer_python().await?;
    // On a thread of the runtime, as the worker's own conversations are.
    let task = tokio::spawn(async move {
        let mut findings = echo(&python, effort).await?;
        findings.extend(window::measure(&python, effort).await?);
        findings.extend(warm_slot(&python, effort).await?);
        findings.extend(spare::measure(&python, effort).await?);
        Ok(findings)
    });
    task.await.map_err(|error| CliError::internal("the measurement ended abnormally").because(error))?
}

async fn echo(python: &Path, effort: Effort) -> Result<Vec<Finding>, CliError> {
    let pairs = effort.choose(5, 20);
    progress(format!(
        "{} echo calls to each of {pairs} children, and over as many bare pipes",
        BLOCKS * BLOCK
    ));
    let dir = scratch()?;
    let (mut ours, mut bare) = (Timings::new(), Timings::new());
    let mut by_pair = Vec::new();
    let mut slowest = (Duration::ZERO, Duration::ZERO);
    for _ in 0..pairs {
        let (our_pair, bare_pair) = echo_pair(python, dir.path()).await?;
        by_pair.push(format!("{}/{}", Figure::micros(our_pair.p50()), Figure::micros(bare_pair.p50())));
        slowest = slowest.max((our_pair.p50(), bare_pair.p50()));
        ours.add(&our_pair);
        bare.add(&bare_pair);
    }
    let row = |name: &str, pick: fn(&Timings) -> Duration, target| {
        let peer = Peer::new("bare pipe echo", Figure::micros(pick(&bare)));
        let name = format!("child: echo call, {name}");
        Finding::beside(name, Figure::micros(pick(&ours)), peer, Ratio::OursByPeer, target)
            .with_remark(format!("medians by pair, ours/bare: {}", by_pair.join(", ")))
    };
    let beside_slowest = Peer::new("the bare pipe of that pair", Figure::micros(slowest.1));
    let name = "child: echo call, p50 of the slowest pair";
    Ok(vec![
        row("p50", Timings::p50, Target::RatioAtMost(1.2)),
        row("p99", Timings::p99, Target::None),
        Finding::beside(name, Figure::micros(slowest.0), beside_slowest, Ratio::OursByPeer, Target::None),
    ])
}

/// One child of ours and one bare one, in turns; the first block of each is a warm-up.
async fn echo_pair(python: &Path, dir: &Path) -> Result<(Timings, Timings), CliError> {
    let mut ours = Child::start(&settings(python, dir)?).await.map_err(|error| not_a_child(&error))?;
    let mut bare = BareChild::start(python)?;
    let (mut our_timings, mut bare_timings) = (Timings::new(), Timings::new());
    for block in 0..=BLOCKS {
        for _ in 0..BLOCK {
            let call = call(ours.next_call(), "echo", dir);
            let began = Instant::now();
            ours.send(&ToChild::Call(&call)).await?;
            answer(&mut ours, call.id).await?;
            if block > 0 {
                our_timings.record(began.elapsed());
            }
        }
        for id in 0..BLOCK {
            let call = call(u64::try_from(id).unwrap_or_default(), "echo", dir);
            let began = Instant::now();
            bare.echo(&ToChild::Call(&call), call.id).await?;
            if block > 0 {
                bare_timings.record(began.elapsed());
            }
        }
    }
    ours.kill().await;
    Ok((our_timings, bare_timings))
}

async fn warm_slot(python: &Path, effort: Effort) -> Result<Vec<Finding>, CliError> {
    let (calls, spawns) = (effort.choose(500, 5000), effort.choose(2, 8));
    progress(format!("{calls} no-op trials on a warm slot, and {spawns} processes that import scikit-learn"));
    let dir = scratch()?;
    let slots = Slots::new(1, settings(python, dir.path())?);
    slots.warm().await.map_err(|error| not_a_child(&error))?;
    let (mut warm, mut cold, mut once) = (Timings::new(), Timings::new(), Timings::new());
    for spawn in 0..=spawns {
        for _ in 0..calls / spawns {
            let began = Instant::now();
            noop(&slots, dir.path()).await?;
            warm.record(began.elapsed());
        }
        let (took, asked) = (spawn_per_call(python).await?, script::noop(python, dir.path()).await?);
        // The first ones fill the page cache.
        if spawn > 0 {
            cold.record(took);
            once.record(asked);
        }
    }
    slots.close().await;
    let peer = Peer::new("python -c 'import sklearn...'", Figure::micros(cold.p50()));
    let faster = Target::RatioAtLeast(1000.0);
    let name = "child: no-op trial on a warm slot";
    Ok(vec![
        Finding::beside(format!("{name}, p50"), Figure::micros(warm.p50()), peer, Ratio::PeerByOurs, faster),
        Finding::beside(
            format!("{name}, p50"),
            Figure::micros(warm.p50()),
            Peer::new("a process per call (subprocess invoker)", Figure::micros(once.p50())),
            Ratio::PeerByOurs,
            Target::None,
        ),
        Finding::alone(format!("{name}, p99"), Figure::micros(warm.p99()), Target::None),
    ])
}

/// One trial as the worker holds it: take a slot, call, hear the result, give the slot back.
async fn noop(slots: &Arc<Slots>, dir: &Path) -> Result<(), CliError> {
    let mut lease = slots.join(0).acquire().await;
    train_noop(lease.child().await.map_err(|error| not_a_child(&error))?, dir).await
}

async fn train_noop(child: &mut Child, dir: &Path) -> Result<(), CliError> {
    let call = call(child.next_call(), "train", dir);
    child.send(&ToChild::Call(&call)).await?;
    let result = answer(child, call.id).await?;
    if result.status == TrialStatus::Succeeded {
        return Ok(());
    }
    Err(CliError::internal("a no-op trial did not succeed").because(format!("{:?}", result.failure)))
}

async fn answer(child: &mut Child, id: u64) -> Result<CallResult, CliError> {
    loop {
        let message = child.receive().await.map_err(|lost: Lost| not_a_child(&lost))?;
        match message {
            FromChild::Heartbeat => {}
            FromChild::Result(result) if result.id == id => return Ok(*result),
            other @ (FromChild::Hello { .. }
            | FromChild::Ready { .. }
            | FromChild::Fatal { .. }
            | FromChild::Report { .. }
            | FromChild::Artifact { .. }
            | FromChild::Result(_)
            | FromChild::Trial { .. }) => {
                return Err(CliError::internal("the child spoke out of turn").because(format!("{other:?}")));
            }
        }
    }
}

async fn spawn_per_call(python: &Path) -> Result<Duration, CliError> {
    let began = Instant::now();
    let status = Command::new(python).args(["-c", IMPORT]).kill_on_drop(true).status();
    let status = tokio::time::timeout(SPAWN_LIMIT, status)
        .await
        .map_err(|_| crate::faults::silent("the import of scikit-learn", SPAWN_LIMIT))??;
    if !status.success() {
        return Err(CliError::new("no-sklearn", Exit::LocalResource, "scikit-learn cannot be imported")
            .because(status));
    }
    Ok(began.elapsed())
}

fn settings(python: &Path, dir: &Path) -> Result<ChildSettings, CliError> {
    Ok(ChildSettings {
        python: python.to_owned(),
        runtime: runtime::lay_out(&dir.join("runtime"))?,
        preload: vec!["mlp".to_owned()],
        dataset_dir: None,
        extra_paths: Vec::new(),
        threads: 1,
        limits: bridge_worker::limits::Limits::default(),
    })
}

/// A call with parameters and a trial of ordinary size, about 600 bytes.
fn call(id: u64, op: &'static str, dir: &Path) -> Call {
    let run_id = "019a0000-0000-7000-8000-000000000000";
    Call {
        id,
        op: op.into(),
        entry: "noop".to_owned(),
        params: serde_json::json!({
            "x": 0.5, "layers": [64, 32], "activation": "relu", "learning_rate": 0.001, "note": "x".repeat(100),
        }),
        trial: TrialContext {
            run_id: run_id.to_owned(),
            correlation_id: run_id.to_owned(),
            trial_id: format!("{run_id}-t00001"),
            number: 1,
            attempt: 1,
            seed: 42,
            objective: "accuracy".to_owned(),
            direction: "maximize",
            dataset_id: "digits".to_owned(),
            dataset: None,
            workdir: dir.to_owned(),
            budget: serde_json::json!({"max_trials": 1}),
        },
        search: None,
    }
}

fn not_a_child(error: &dyn std::error::Error) -> CliError {
    CliError::new("no-child", Exit::LocalResource, "a Python child cannot be used").because(error)
}

//! Trials and values into MLflow: through the broker and the sink, beside a bare client that makes the same calls at the
//! same concurrency, and beside MLflow's own fluent client; and the sink's memory with a backlog.
//!
//! All write to one server with a database of its own, in turns. Ours counts from the first publish to the moment the sink
//! has settled the last event; the others from their first call to their last answer.

mod bare;
mod fluent;
mod ours;

use std::time::Duration;

use local_stack::{Mlflow, MlflowConfig};
use service_kit::broker::Broker;
use service_kit::error::CliError;

use crate::cli::{Effort, progress};
use crate::environments::mlflow_python;
use crate::faults;
use crate::process_table;
use crate::programs::Programs;
use crate::service::{Plan, Service};
use crate::stand::Stand;
use crate::table::{Figure, Finding, Peer, Ratio, Target, Unit};
use crate::timings::median;

use bare::Bare;
use fluent::{Fluent, What};

const SINK: &str = "mlflow-sink";
/// What is promised with a backlog of [`BACKLOG`] values.
const MEGABYTES: f64 = 64.0;
/// Values that wait when the sink starts, and the runs they belong to.
const BACKLOG: (u32, u32) = (100_000, 20);

/// What is measured with one server: its name, rounds, and the trials of each: by the sink and by the bare client, and by
/// the fluent client, which takes a third of a second for each where the server has its default workers.
type Rounds = (&'static str, u32, u32, u32);
const ONE_WORKER: Rounds = ("one worker", 5, 300, 300);
const DEFAULT_WORKERS: Rounds = ("default workers", 5, 300, 60);

/// Rates by round, of one side.
#[derive(Debug, Default)]
struct Rates(Vec<f64>);

impl Rates {
    fn add(&mut self, count: u32, took: Duration) {
        self.0.push(f64::from(count) / took.as_secs_f64());
    }

    fn median(&self) -> Figure {
        Figure::new(median(&self.0).unwrap_or_default(), Unit::PerSecond)
    }

    fn remark(&self, name: &str) -> String {
        format!("{name} {:.1?}", self.0)
    }
}

/// Measures all of it.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let programs = Programs::build(&[SINK]).await?;
    let stand = Stand::open().await?;
    let broker = stand.connect().await?;
    let server = mlflow(&stand, "mlflow", Some(1)).await?;
    let mut fluent = Fluent::start(&stand, &server.url()).await?;
    let sink = sink(&stand, &programs, &server, "sink").await?;
    let mut findings = trials(effort, &broker, &server, &mut fluent, ONE_WORKER).await?;
    findings.push(values(effort, &broker, &mut fluent).await?);
    drop(fluent);
    sink.stop().await;
    findings.push(backlog(effort, &stand, &broker, &programs, &server).await?);
    server.stop().await;
    findings.extend(as_mlflow_comes(effort, &stand, &broker, &programs).await?);
    Ok(findings)
}

/// The trials once more, into a server that was started without a word about its workers.
async fn as_mlflow_comes(
    effort: Effort,
    stand: &Stand,
    broker: &Broker,
    programs: &Programs,
) -> Result<Vec<Finding>, CliError> {
    let mlflow = mlflow(stand, "mlflow-default", None).await?;
    let mut fluent = Fluent::start(stand, &mlflow.url()).await?;
    let sink = sink(stand, programs, &mlflow, "sink-default").await?;
    let findings = trials(effort, broker, &mlflow, &mut fluent, DEFAULT_WORKERS).await?;
    sink.stop().await;
    mlflow.stop().await;
    Ok(findings)
}

/// A server with a database of its own.
async fn mlflow(stand: &Stand, name: &str, workers: Option<u32>) -> Result<Mlflow, CliError> {
    progress("starting MLflow");
    let (dir, log) = (stand.dir().join(name), stand.dir().join(format!("{name}.log")));
    let config = MlflowConfig { workers, ..MlflowConfig::new(mlflow_python().await?, dir, log) };
    Mlflow::start(config).await.map_err(|error| faults::not_started(&error))
}

async fn sink(stand: &Stand, programs: &Programs, mlflow: &Mlflow, dir: &str) -> Result<Service, CliError> {
    let dir = stand.dir().join(dir);
    std::fs::create_dir_all(&dir)?;
    let flags = vec!["--mlflow-url".into(), mlflow.url().into()];
    let plan = Plan { name: SINK, program: programs.path(SINK)?, dir: &dir, nats_url: &stand.url(), flags };
    let sink = Service::start(plan).await?;
    sink.ready().await?;
    Ok(sink)
}

async fn trials(
    effort: Effort,
    broker: &Broker,
    mlflow: &Mlflow,
    fluent: &mut Fluent,
    (server, rounds, count, fluent_count): Rounds,
) -> Result<Vec<Finding>, CliError> {
    let (rounds, count) = (effort.choose(1, rounds), effort.choose(60, count));
    let fluent_count = fluent_count.min(count);
    progress(format!(
        "{rounds} rounds of {count} trials by the sink and by a bare client, of {fluent_count} by the fluent client \
         ({server})"
    ));
    let bare = Bare::new(&mlflow.url()).await?;
    let [mut ours, mut raw, mut peer] = [(); 3].map(|()| Rates::default());
    // The first round is a warm-up.
    for round in 0..=rounds {
        let run = format!("bench-trials-{}-{round}", server.replace(' ', "-"));
        let took = [
            ours::trials(broker, &run, count).await?,
            bare.trials(&format!("{run}-bare"), count).await?,
            fluent.log(What::Trials, fluent_count).await?,
        ];
        if round > 0 {
            [&mut ours, &mut raw, &mut peer]
                .into_iter()
                .zip(took)
                .zip([count, count, fluent_count])
                .for_each(|((rates, took), count)| rates.add(count, took));
        }
    }
    let name = format!("mlflow: trials, {server}");
    let beside =
        |peer: Peer, target| Finding::beside(name.clone(), ours.median(), peer, Ratio::OursByPeer, target);
    let remark = |peer: &Rates| format!("{}, {}", ours.remark("by round, ours"), peer.remark("peer"));
    let bare = Peer::new("a bare client with the same calls", raw.median());
    let fluent = Peer::new("MLflow's fluent client", peer.median());
    Ok(vec![
        beside(bare, Target::RatioAtLeast(0.95)).with_remark(remark(&raw)),
        beside(fluent, Target::RatioAtLeast(2.0)).with_remark(remark(&peer)),
    ])
}

async fn values(effort: Effort, broker: &Broker, fluent: &mut Fluent) -> Result<Finding, CliError> {
    let (rounds, ours_count, peer_count) =
        (effort.choose(1, 4), effort.choose(2_000, 20_000), effort.choose(100, 500));
    progress(format!("{rounds} rounds of {ours_count} values by the sink, of {peer_count} by log_metric"));
    let [mut ours, mut peer] = [(); 2].map(|()| Rates::default());
    for round in 0..=rounds {
        let took = ours::values(broker, &[format!("bench-values-{round}")], ours_count).await?;
        let peer_took = fluent.log(What::Values, peer_count).await?;
        if round > 0 {
            ours.add(ours_count, took);
            peer.add(peer_count, peer_took);
        }
    }
    let log_metric = Peer::new("log_metric of the fluent client", peer.median());
    let target = Target::RatioAtLeast(20.0);
    Ok(Finding::beside("mlflow: values on the way", ours.median(), log_metric, Ratio::OursByPeer, target)
        .with_remark(ours.remark("by round")))
}

/// The most memory a sink takes that starts with everything still to do.
async fn backlog(
    effort: Effort,
    stand: &Stand,
    broker: &Broker,
    programs: &Programs,
    mlflow: &Mlflow,
) -> Result<Finding, CliError> {
    let (values, runs) = (effort.choose(BACKLOG.0 / 10, BACKLOG.0), BACKLOG.1);
    progress(format!("a backlog of {values} values of {runs} runs"));
    let runs: Vec<String> = (0..runs).map(|run| format!("bench-backlog-{run}")).collect();
    ours::publish_values(broker, &runs, values).await?;
    let sink = sink(stand, programs, mlflow, "sink-backlog").await?;
    ours::settled(broker).await?;
    let most = process_table::most_resident(sink.pid())?;
    sink.stop().await;
    let limit = Target::OursBelow(Figure::new(MEGABYTES, Unit::Megabytes));
    Ok(Finding::alone(
        format!("mlflow: the sink's most memory over a backlog of {values} values"),
        most,
        limit,
    ))
}

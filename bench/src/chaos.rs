//! What goes wrong in the end goes wrong here first: real workers and real trainers against a real broker, killed,
//! stopped, frozen and cut off at random moments.
//!
//! Invariants:
//! - a scenario is judged by what the broker has stored, never by what a worker says of itself;
//! - random moments come from a seed that is printed, and are the same again with `--seed`;
//! - a scenario that could not be played, or struck less often than it was meant to, is no success;
//! - after a failure the store and every log stay on the disk, and it is said where.
//!
//! It deliberately knows nothing of how a worker does it: a scenario says what happens to processes and to the network,
//! and what the streams must hold in the end.

mod arena;
mod audit;
mod freeze;
mod kills;
mod moments;
mod network;
mod orphans;
mod report;
mod rolling;
mod stops;
mod storm;
mod timeline;

use std::time::Duration;

use service_kit::clock;
use service_kit::error::CliError;
use service_kit::output::warning;
use tokio::time::Instant;

use crate::cli::{Effort, progress};
use crate::programs::Programs;
use crate::table::Finding;
use arena::Arena;
use moments::Moments;
use report::{Halt, Report};

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// The worker is killed twenty times during one run
    Kills,
    /// The worker is stopped five times during one run
    Stops,
    /// A worker stands still for longer than its lease
    Freeze,
    /// The broker crashes, and the network fails
    Network,
    /// One of two workers is killed every second
    Storm,
    /// Two workers are restarted in turn under load
    Rolling,
}

impl Scenario {
    const ALL: [Self; 6] =
        [Self::Kills, Self::Stops, Self::Freeze, Self::Network, Self::Storm, Self::Rolling];

    fn name(self) -> &'static str {
        match self {
            Self::Kills => "kills",
            Self::Stops => "stops",
            Self::Freeze => "freeze",
            Self::Network => "network",
            Self::Storm => "storm",
            Self::Rolling => "rolling",
        }
    }

    /// What has to hold, as the row says it.
    fn title(self) -> &'static str {
        match self {
            Self::Kills => "a run whose worker is killed again and again",
            Self::Stops => "a run whose worker is stopped five times",
            Self::Freeze => "runs of a worker that stands still past its lease",
            Self::Network => "runs while the broker crashes and the network fails",
            Self::Storm => "a queue while a worker is killed every second",
            Self::Rolling => "a rolling restart under load",
        }
    }

    async fn play(
        self,
        arena: &mut Arena,
        report: &mut Report,
        effort: Effort,
        moments: &mut Moments,
    ) -> Result<(), Halt> {
        match self {
            Self::Kills => kills::play(arena, report, effort, moments).await,
            Self::Stops => stops::play(arena, report, effort, moments).await,
            Self::Freeze => freeze::play(arena, report, effort, moments).await,
            Self::Network => network::play(arena, report, effort, moments).await,
            Self::Storm => storm::play(arena, report, effort, moments).await,
            Self::Rolling => rolling::play(arena, report, effort, moments).await,
        }
    }
}

/// Plays some scenarios, all when none is named, with moments that follow from `seed`.
pub(crate) async fn measure(
    effort: Effort,
    named: &[Scenario],
    seed: Option<u64>,
) -> Result<Vec<Finding>, CliError> {
    let seed = seed.unwrap_or_else(|| u64::from(clock::now().micros().unsigned_abs() as u32));
    progress(format!("chaos with --seed {seed}"));
    let programs = Programs::build(&["bridge-worker"]).await?;
    let mut findings = Vec::new();
    for (stream, scenario) in (0..).zip(Scenario::ALL) {
        if named.is_empty() || named.contains(&scenario) {
            let moments = Moments::new(seed, stream);
            findings.extend(one(&programs, scenario, effort, moments).await?);
        }
    }
    Ok(findings)
}

async fn one(
    programs: &Programs,
    scenario: Scenario,
    effort: Effort,
    mut moments: Moments,
) -> Result<Vec<Finding>, CliError> {
    progress(format!("{}: {}", scenario.name(), scenario.title()));
    let began = Instant::now();
    let mut report = Report::new(scenario.name());
    let mut arena = Arena::open(programs).await?;
    // Boxed: the state of a whole scenario is large.
    let played = Box::pin(scenario.play(&mut arena, &mut report, effort, &mut moments)).await;
    let fault = match played {
        Ok(()) => None,
        Err(Halt::Overdue(what)) => {
            report.broke([what]);
            None
        }
        Err(Halt::Fault(error)) => Some(error.to_string()),
    };
    let stand = arena.close(&mut report).await;
    if fault.is_some() || !report.is_clean() {
        report.told().iter().for_each(|broken| warning(format!("{}: {broken}", scenario.name())));
        warning(format!("{}: logs and streams are kept in {}", scenario.name(), stand.keep().display()));
    }
    let took = Duration::from_secs(began.elapsed().as_secs());
    progress(format!("{}: played in {} s", scenario.name(), took.as_secs()));
    Ok(report.rows(scenario.title(), fault))
}

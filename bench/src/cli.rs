//! The command line: which measurements, how long, in which form.

use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, Printer, note, warning};
use service_kit::program::{self, Kind};

use crate::table::{Finding, Verdict};
use crate::{
    chaos, child, compare, contracts, letters, memory, profile, resume, runs, slots, streamed, tracking,
    trials,
};

/// Measures the promised ratios. Exit 0: every target is met; 9: one is missed, or a peer could not be measured.
#[derive(Debug, clap::Parser)]
#[command(name = "bench")]
pub(crate) struct Cli {
    /// What to measure
    #[arg(value_enum, default_value = "all", value_name = "WHAT")]
    what: What,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Fewer repetitions: minutes become seconds, and the figures less certain
    #[arg(long)]
    quick: bool,
    /// A peer that cannot be measured here is no finding
    #[arg(long)]
    allow_missing: bool,
    /// Play this scenario of `chaos` alone; can be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    scenario: Vec<chaos::Scenario>,
    /// The random moments of `chaos` again, as an earlier run has printed it
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Everything that has a target
    All,
    /// Writing, reading and publishing events, beside raw publishing
    Contracts,
    /// A call to a Python child, beside a bare pipe and beside a process per call
    Child,
    /// No-op runs through the whole path, beside Celery and FastStream
    Runs,
    /// Short trials on two slots, beside Optuna and joblib
    Trials,
    /// Trials out of a child into the stream, beside raw publishing
    Streamed,
    /// Trials and values into MLflow, beside a bare client and MLflow's fluent one
    Mlflow,
    /// The time in which a run of 10,000 trials goes on after its worker was lost
    Resume,
    /// A CPU-bound search on one slot and on two
    Slots,
    /// The same search one trial at a time and on every slot: total, mean, throughput, speed-up; not part of `all`
    Compare,
    /// The classifier beside a bare reader; the queue of dead letters listed, grouped and audited
    Letters,
    /// Memory of the idle services, and the time until they are ready
    Memory,
    /// Where the time of one no-op run goes, for tuning; no targets
    Profile,
    /// Workers, broker and network killed, stopped, frozen and cut off; ten minutes, and not part of `all`
    Chaos,
}

/// How many repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For a first look.
    Quick,
    /// For the record.
    Full,
}

impl Effort {
    /// One of two numbers.
    pub(crate) fn choose<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

impl program::Cli for Cli {
    fn output(&self) -> Option<Format> {
        self.json.then_some(Format::Json)
    }

    fn kind(&self) -> Kind {
        Kind::Client
    }
}

/// Measures, prints the table, and says by the exit code whether every target is met.
pub(crate) async fn run(cli: Cli) -> Result<Exit, CliError> {
    let effort = if cli.quick { Effort::Quick } else { Effort::Full };
    let findings = match cli.what {
        What::All => {
            let mut all = contracts::measure(effort).await?;
            all.extend(child::measure(effort).await?);
            all.extend(runs::measure(effort).await?);
            all.extend(trials::measure(effort).await?);
            all.extend(streamed::measure(effort).await?);
            all.extend(tracking::measure(effort).await?);
            all.extend(resume::measure(effort).await?);
            all.extend(slots::measure(effort).await?);
            all.extend(letters::measure(effort).await?);
            all.extend(memory::measure(effort).await?);
            all
        }
        What::Contracts => contracts::measure(effort).await?,
        What::Child => child::measure(effort).await?,
        What::Runs => runs::measure(effort).await?,
        What::Trials => trials::measure(effort).await?,
        What::Streamed => streamed::measure(effort).await?,
        What::Mlflow => tracking::measure(effort).await?,
        What::Resume => resume::measure(effort).await?,
        What::Compare => return compare::run(effort, cli.json).await,
        What::Slots => slots::measure(effort).await?,
        What::Letters => letters::measure(effort).await?,
        What::Memory => memory::measure(effort).await?,
        What::Profile => profile::measure(effort).await?,
        What::Chaos => chaos::measure(effort, &cli.scenario, cli.seed).await?,
    };
    Printer::new(if cli.json { Format::Json } else { Format::Table }).rows(&findings)?;
    Ok(conclude(&findings, cli.allow_missing))
}

fn conclude(findings: &[Finding], is_missing_allowed: bool) -> Exit {
    let mut exit = Exit::Done;
    for finding in findings {
        match finding.verdict() {
            Verdict::Met | Verdict::Shown => {}
            Verdict::Missed => exit = Exit::Findings,
            Verdict::NotMeasured => {
                warning(format!(
                    "{}: not measured: {}",
                    finding.name(),
                    finding.remark().unwrap_or("no reason")
                ));
                if !is_missing_allowed {
                    exit = Exit::Findings;
                }
            }
        }
    }
    exit
}

/// Says what is being measured, on standard error.
pub(crate) fn progress(text: impl std::fmt::Display) {
    note(format!("bench: {text}"));
}

//! `check`: MLflow held against the stream; with `--repair`, what differs is mended.
//!
//! The stream is folded once into what MLflow should have ([`crate::projection::expected`]); the server is read page by
//! page and compared on the way ([`survey`], [`compare`], both pure).
//!
//! Invariants:
//! - without `--repair` nothing is written, neither to MLflow nor to the broker;
//! - what the sink has not settled yet is no finding, nor is what is older than the stream, nor what MLflow refused;
//! - nothing is destroyed: what a repair takes away is deleted as MLflow deletes, and can be restored.

pub mod compare;
pub mod finding;
mod judge;
mod repair;
mod server;
mod stream;
pub mod survey;

use std::collections::BTreeMap;

use schemas::RunId;
use service_kit::clock;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::moment::{Moment, parse_moment};
use service_kit::output::{self, Format, OutputArgs};

use crate::progress::Progress;
use crate::target::{TargetArgs, Tools, no_births, unreachable};
use finding::Finding;
use stream::{Asked, Reading};
use survey::{Key, Survey};

/// Flags of `check`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 MLflow is as the stream says; 9 something was found, also when all of it was repaired; \
    6 the broker or MLflow cannot be reached.\n\n\
    Examples:\n  mlflow-sink check\n  mlflow-sink check --repair\n  mlflow-sink check --since 2h -o ndjson | jq -r .kind"
)]
pub struct CheckArgs {
    /// Mend what differs; a running sink stands by meanwhile
    #[arg(long)]
    pub(crate) repair: bool,
    /// Only this run
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub(crate) run: Option<RunId>,
    /// Only runs that began since: a time such as 2026-01-31T12:00:00Z, or a while ago such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(crate) since: Option<Moment>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

fn run_id(text: &str) -> Result<RunId, String> {
    RunId::parse(text).map_err(|error| error.to_string())
}

/// What was seen at one look.
pub(crate) struct Look {
    reading: Reading,
    survey: Survey,
    births: BTreeMap<Key, String>,
    server: String,
    findings: Vec<Finding>,
}

/// Carries out `check`.
pub(crate) async fn check(args: &CheckArgs) -> Result<Exit, CliError> {
    let printer = args.output.printer();
    let progress = Progress::new();
    let asked = Asked { run: args.run.clone(), since: args.since.map(|since| since.resolve(clock::now())) };
    let tools = Tools::open(&args.target, &args.broker).await?;
    let look = look(&tools, &asked, &progress).await?;
    progress.clear();
    if let Some(run) = args.run.as_ref().filter(|run| look.knows_nothing_of(run)) {
        return Err(CliError::new(
            "run-unknown",
            Exit::NotFound,
            format!("nothing is known of the run {run}"),
        )
        .because("neither the stream nor MLflow has anything of it")
        .help("`producer list` shows the runs there are"));
    }
    say_what_is_left_out(&look);
    let runs = look.reading.compared();
    let is_to_mend = look.findings.iter().any(|finding| finding.kind.is_mended());
    let findings = if args.repair && is_to_mend {
        repair::repair(&tools, args, &asked, &progress).await?
    } else {
        look.findings
    };
    progress.clear();
    if findings.is_empty() && printer.format() == Format::Table {
        output::note(format!("{runs} runs are in MLflow as the stream says"));
        return Ok(Exit::Done);
    }
    printer.rows(&findings)?;
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Findings })
}

/// Reads the stream and the server once.
pub(crate) async fn look(tools: &Tools, asked: &Asked, progress: &Progress) -> Result<Look, CliError> {
    let cannot = |error| unreachable(&tools.client, &error);
    let mut reading = stream::read(&tools.broker, &tools.registry, asked, progress).await?;
    let mut survey = server::survey(tools, &reading, progress).await.map_err(cannot)?;
    let server = tools.client.name().await.map_err(cannot)?;
    let mut births = server::births(tools, &server, survey.runs()).await.map_err(no_births)?;
    survey.leave_out_foreign(&births, false);
    let unclear = survey.unclear_trials(&reading.expected, &births);
    births.extend(server::births(tools, &server, unclear).await.map_err(no_births)?);
    survey.leave_out_foreign(&births, true);
    let unknown = survey.unknown_runs(&reading.expected);
    // A birth outlives the registry.
    let mut ours = server::registered(tools, unknown).await.map_err(no_births)?;
    ours.extend(births.keys().map(|(run, _)| run.clone()));
    stream::note_what_moved(&tools.broker, &mut reading).await?;
    let findings = survey.judge(&reading.expected, &reading.scope, &births, &ours);
    Ok(Look { reading, survey, births, server, findings })
}

impl Look {
    fn knows_nothing_of(&self, run: &RunId) -> bool {
        let Reading { expected, scope, .. } = &self.reading;
        let is_seen = self.survey.sightings.keys().any(|(seen, _)| seen == run);
        !(expected.runs.contains_key(run) || scope.moving.contains(run) || is_seen)
    }
}

impl Reading {
    /// Runs that were compared.
    fn compared(&self) -> usize {
        self.expected.runs.keys().filter(|run| self.scope.takes(run)).count()
    }
}

fn say_what_is_left_out(look: &Look) {
    let Reading { scope, refused, .. } = &look.reading;
    let of_scope = |runs: &std::collections::BTreeSet<RunId>| {
        runs.iter().filter(|run| scope.only.as_ref().is_none_or(|only| only == *run)).count()
    };
    let (moving, partial) = (of_scope(&scope.moving), of_scope(&scope.partial));
    if moving > 0 {
        let since = scope.waits_first.as_ref().map_or_else(String::new, |(run, sequence, since)| {
            format!("; the first event that waits is {sequence} of run {run}, of {since}")
        });
        output::note(format!("{moving} runs are still being written and were not compared{since}"));
    }
    if partial > 0 {
        output::note(format!(
            "{partial} runs began before what was read of the stream and were not compared"
        ));
    }
    if *refused > 0 {
        output::note(format!(
            "{refused} events are dead letters, because MLflow refused them; what they say was not expected: \
             `dlq-classifier list --stage sink`"
        ));
    }
}

//! `rebuild`: an empty MLflow is filled from the stream, under the lease of the sinks.
//!
//! The same writer as that of the service writes the same events in the same order, so that the server is what it was but
//! for its ids. What is there already is found and completed: to begin again after an interruption does no harm.

use std::collections::BTreeMap;

use schemas::subject::STREAM;
use schemas::{Event, RunId};
use serde::Serialize;
use service_kit::clock;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::History;
use service_kit::moment::{Moment, parse_moment};
use service_kit::output::{self, OutputArgs, Row};
use service_kit::topology::{self, SINK_SUBJECTS};

use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::replay::{replay, seen, sweep};
use crate::serve::leader::Leader;
use crate::target::{TargetArgs, Tools};

/// Most runs that are named in a note.
const MAX_NAMED: usize = 20;

/// Flags of `rebuild`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What MLflow refuses is listed on standard output. Exit codes: 0 everything is written; 9 something was \
    refused; 6 the broker or MLflow cannot be reached.\n\n\
    Examples:\n  mlflow-sink rebuild --dry-run\n  mlflow-sink rebuild --mlflow-url http://new:5000\n  \
    mlflow-sink rebuild --from-time 2026-01-31T12:00:00Z"
)]
pub struct RebuildArgs {
    /// Begin at this sequence of the stream
    #[arg(long, value_name = "N", conflicts_with = "from_time")]
    pub(crate) from_seq: Option<u64>,
    /// Begin at a time such as 2026-01-31T12:00:00Z, or a while ago such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(crate) from_time: Option<Moment>,
    /// Write nothing; list the runs that would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A run as it would be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Planned {
    run: RunId,
    /// Events of it that would be written.
    events: u64,
    first_seq: u64,
    last_seq: u64,
    /// Its beginning is not among them: it is only continued.
    is_continued: bool,
}

impl Row for Planned {
    fn headings() -> &'static [&'static str] {
        &["run", "events", "first", "last", "continued"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.run.to_string(),
            self.events.to_string(),
            self.first_seq.to_string(),
            self.last_seq.to_string(),
            if self.is_continued { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// Carries out `rebuild`.
pub(crate) async fn rebuild(args: &RebuildArgs) -> Result<Exit, CliError> {
    let (printer, progress) = (args.output.printer(), Progress::new());
    let tools = Tools::open(&args.target, &args.broker).await?;
    let planned = plan(&tools, args, &progress).await?;
    progress.clear();
    name_the_continued(&planned);
    if args.dry_run {
        printer.rows(&planned)?;
        return Ok(Exit::Done);
    }
    let Some(from) = planned.iter().map(|run| run.first_seq).min() else {
        output::note("the stream holds nothing to write");
        return Ok(Exit::Done);
    };
    topology::ensure(&tools.broker).await?;
    let name = format!("rebuild-{}", uuid::Uuid::now_v7().simple());
    let ledger = Ledger::temporary()?;
    let leader = Leader::demand(&tools.broker, name.clone(), Ledger::temporary()?).await?;
    let write = async |fence| {
        let writer = tools.writer(&name, ledger, &args.target, &args.broker);
        let told = replay(&tools.broker, &writer, &fence, from, None, &progress).await?;
        sweep(&writer, &tools.broker).await?;
        Ok(told)
    };
    let written = leader.while_held(write).await;
    leader.release().await;
    progress.clear();
    let told = written?;
    let (events, runs, refused) = (told.events, told.runs.len(), told.refusals.len());
    output::note(format!("{events} events of {runs} runs are written, {refused} of them were refused"));
    if told.refusals.is_empty() {
        return Ok(Exit::Done);
    }
    printer.rows(&told.refusals)?;
    Ok(Exit::Findings)
}

/// The runs that are written, by their first event.
async fn plan(tools: &Tools, args: &RebuildArgs, progress: &Progress) -> Result<Vec<Planned>, CliError> {
    let broker = &tools.broker;
    let mut history = match args.from_time {
        Some(moment) => History::since(broker, STREAM, &SINK_SUBJECTS, moment.resolve(clock::now())).await?,
        None => History::to_the_present(broker, STREAM, &SINK_SUBJECTS, args.from_seq.unwrap_or(1)).await?,
    };
    let (mut runs, mut count) = (BTreeMap::<RunId, Planned>::new(), 0_u64);
    while let Some(kept) = history.next().await? {
        count += 1;
        progress.say(|| format!("{count} events read"));
        let Some(seen) = seen(&kept) else { continue };
        let Some(run) = seen.run().cloned() else { continue };
        let planned = runs.entry(run.clone()).or_insert_with(|| Planned {
            run,
            events: 0,
            first_seq: kept.sequence,
            last_seq: kept.sequence,
            is_continued: !matches!(seen.event, Event::MlRunStarted(_)),
        });
        planned.events += 1;
        planned.last_seq = kept.sequence;
    }
    let mut runs: Vec<Planned> = runs.into_values().collect();
    runs.sort_by_key(|run| run.first_seq);
    let Some(from) = runs.first().map(|run| run.first_seq) else { return Ok(runs) };
    for run in &mut runs {
        // A later attempt begins with a start as well; the registry knows where the run itself does. What lies between the
        // request and the first event that is written is no matter of MLflow's.
        let begins_earlier = match tools.registry.get(&run.run).await {
            Ok(held) => held.is_some_and(|held| held.record.attempt > 1 && held.record.first_sequence < from),
            Err(_) => false,
        };
        run.is_continued |= begins_earlier;
    }
    Ok(runs)
}

fn name_the_continued(planned: &[Planned]) {
    let names: Vec<&str> =
        planned.iter().filter(|run| run.is_continued).map(|run| run.run.as_str()).collect();
    if names.is_empty() {
        return;
    }
    let more = names.len().saturating_sub(MAX_NAMED);
    let named = names[..names.len() - more].join(", ");
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    output::warning(format!(
        "these runs begin before what is read of the stream and are only continued: {named}{rest}"
    ));
}

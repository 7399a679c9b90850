//! `run`: one search, here, then exit with its result.
//!
//! With a broker ([`with_broker`]) the search is a run like any other: requested on the stream, claimed in the registry,
//! fenced, told in events, resumed from them. The request is reserved by a header: a worker that serves settles it
//! without effect, so that nobody races for it, and nobody takes it over when this process dies. Started again with the
//! same run id, this program goes on where it was; the fence shuts out a first process that still lives.
//! Without one ([`offline`]) the same supervisor, the same trials and the same children work into this process's memory.
//!
//! Invariants: a spec that can never run exits with 5 before anything is published or started; standard output holds the
//! result and nothing else, in NDJSON each trial before it as soon as it is durable; a signal stops the search cleanly and
//! leaves no child, whether or not its broker answers.
//!
//! Whoever reads the lines and leaves ends a search without a broker, which nobody else sees; a run of the broker's goes
//! on to its end.

mod identity;
mod lines;
mod offline;
mod outcome;
mod pages;
mod stream;
mod with_broker;

use std::io::IsTerminal as _;

use run_spec::{Assignment, Spec};
use schemas::{Failure, RunId};
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{self, Format, OutputArgs, Printer};
use service_kit::shutdown::{Hold, Shutdown};

use crate::cli::ServeArgs;
use crate::plan::{Allowed, RunPlan, plan};
use lines::Lines;
use outcome::Outcome;

/// Flags of `run`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Exit code: 0 if the run succeeded, 8 if it did not, 5 if the spec can never run
or the run id belongs to another spec. --http serves the pages of a worker; without it no port is opened.

Examples:
  bridge-worker run spec.json
  bridge-worker run --offline '{\"dataset_id\": \"iris\"}' --set budget.max_trials=4 -o ndjson")]
pub struct RunArgs {
    /// A JSON file, - for standard input, or the JSON itself
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Sets a field of the spec; the value is JSON, a bare word is a text
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Assignment>,
    /// Identity of the run: started again with the same, it goes on where it was [default: a new one]
    #[arg(long, value_name = "ID", value_parser = RunId::parse)]
    run_id: Option<RunId>,
    /// Without a broker: nothing is published, and nothing can be resumed
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// What a worker would be started with.
    #[command(flatten)]
    serve: ServeArgs,
}

impl RunArgs {
    /// The output format that was asked for.
    pub fn format(&self) -> Option<Format> {
        self.output.output
    }

    /// A machine reads what does not go to a terminal.
    fn printer(&self) -> Printer {
        let is_terminal = std::io::stdout().is_terminal();
        let usual = if is_terminal { Format::Table } else { Format::Json };
        OutputArgs { output: Some(self.output.output.unwrap_or(usual)), ..self.output }.printer()
    }

    fn allowed(&self) -> Allowed {
        Allowed { entrypoints: self.serve.allow_entrypoint.clone(), has_script: self.serve.script.is_some() }
    }
}

/// Carries out one search.
pub(crate) async fn run(args: RunArgs, shutdown: Shutdown) -> Result<Exit, CliError> {
    let text = run_spec::source_text(Some(&args.spec)).await?;
    let read = run_spec::read(text.as_deref(), &args.set);
    let Spec { mut request, warnings, .. } = read.map_err(|findings| run_spec::refusal(&findings))?;
    warnings.iter().for_each(output::warning);
    let run_id = args.run_id.clone().or_else(|| request.run_id.clone()).unwrap_or_else(fresh_run_id);
    request.run_id = Some(run_id.clone());
    let plan = plan(&run_id, &request, &args.allowed()).map_err(|failure| refused(&failure))?;
    let mut lines = Lines::new(args.printer());
    let outcome = if args.offline {
        offline::run(&args, plan, &shutdown, &mut lines).await?
    } else {
        with_broker::run(&args, &plan, &shutdown, &mut lines).await?
    };
    let exit = outcome.exit();
    lines.end()?;
    outcome.print(args.printer())?;
    // What a signal has ended says which; without one, something the search needs was not there.
    if exit != Exit::Interrupted {
        return Ok(exit);
    }
    Ok(shutdown.interrupted().unwrap_or(Exit::Unreachable))
}

fn fresh_run_id() -> RunId {
    RunId::parse(&uuid::Uuid::now_v7().to_string()).expect("a UUID has only hexadecimal digits and dashes")
}

/// A request that can never run here.
fn refused(failure: &Failure) -> CliError {
    CliError::new("spec-refused", Exit::InvalidInput, "the spec can never run here; nothing was started")
        .because(&failure.message)
        .help("correct the spec; `bridge-worker run --help` names the flags that allow more")
}

/// Keeps the program from ending before what it has started has ended.
fn hold(shutdown: &Shutdown) -> Hold {
    shutdown.hold("the children to stop")
}

/// What an unfinished outcome of this plan begins with.
fn outcome_of(plan: &RunPlan) -> Outcome {
    Outcome::new(&plan.run_id, &plan.request.objective, plan.direction)
}

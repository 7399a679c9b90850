//! `list`: the runs there are, newest last.

use schemas::lifecycle::RunState;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{self, Format};

use crate::connection::Shared;
use crate::runs::{self, RunRow};

/// The arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only runs in this state
    #[arg(long, value_name = "STATE", value_parser = state_parser())]
    pub state: Option<RunState>,
    /// Broker, output, timeout.
    #[command(flatten)]
    pub shared: Shared,
}

/// Carries out `list`.
pub(crate) async fn list(args: &ListArgs) -> Result<Exit, CliError> {
    let printer = args.shared.output.printer();
    let broker = args.shared.connect().await?;
    let runs = args.shared.within(&broker, runs::all(&broker)).await?;
    let rows: Vec<RunRow> = runs
        .iter()
        .map(|run| run.row())
        .filter(|row| args.state.is_none_or(|state| state == row.state))
        .collect();
    if rows.is_empty() && printer.format() == Format::Table {
        let which = args.state.map_or(String::new(), |state| format!(" that is {state}"));
        output::note(format!("there is no run{which} on the broker at {}", broker.url()));
        return Ok(Exit::Done);
    }
    printer.rows(&rows)?;
    Ok(Exit::Done)
}

fn state_parser() -> impl clap::builder::TypedValueParser<Value = RunState> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(RunState::ALL.map(RunState::as_str)).map(|name| {
        let state = RunState::ALL.into_iter().find(|state| state.as_str() == name);
        state.expect("clap lets only the listed names pass")
    })
}

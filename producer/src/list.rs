//! `list`: the runs there are, newest last.

use schemas::lifecycle::RunState;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{self, Format};

use crate::connection::Shared;
use crate::runs::{self, RunRow, ShortRow};

/// Runs a terminal gets when no limit is given.
const LIMIT_FOR_PEOPLE: u32 = 50;

/// Columns of a terminal that has room for whole rows.
const WIDE: u16 = 140;

/// The arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A terminal gets the newest 50 runs unless --limit says otherwise, and the first columns if it is \
    narrow; a pipe, JSON and NDJSON get all.\n\n\
    Examples:\n  producer list --state running\n  producer list --limit 1000 | less\n  \
    producer list -o ndjson --state failed | jq -r .run_id"
)]
pub struct ListArgs {
    /// Only runs in this state
    #[arg(long, value_name = "STATE", value_parser = state_parser())]
    pub state: Option<RunState>,
    /// Only the newest N of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub limit: Option<u32>,
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
    let newest = newest(&rows, args.limit, printer.is_for_people());
    if printer.is_for_people() && is_narrow(console::Term::stdout().size_checked()) {
        printer.rows(&newest.iter().map(ShortRow).collect::<Vec<_>>())?;
    } else {
        printer.rows(newest)?;
    }
    if newest.len() < rows.len() && printer.format() == Format::Table {
        let (shown, all) = (newest.len(), rows.len());
        output::note(format!("these are the newest {shown} of {all} runs; --limit N shows more"));
    }
    Ok(Exit::Done)
}

/// True for a terminal, given as (rows, columns), on which the columns of a whole row would be torn apart.
fn is_narrow(size: Option<(u16, u16)>) -> bool {
    size.is_some_and(|(_, columns)| columns < WIDE)
}

/// The end of the list that is shown. A pipe gets all, unless a limit was given.
fn newest(rows: &[RunRow], limit: Option<u32>, is_for_people: bool) -> &[RunRow] {
    let limit = limit.or(is_for_people.then_some(LIMIT_FOR_PEOPLE));
    let limit = limit.map_or(rows.len(), |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    &rows[rows.len().saturating_sub(limit)..]
}

fn state_parser() -> impl clap::builder::TypedValueParser<Value = RunState> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(RunState::ALL.map(RunState::as_str)).map(|name| {
        let state = RunState::ALL.into_iter().find(|state| state.as_str() == name);
        state.expect("clap lets only the listed names pass")
    })
}

#[cfg(test)]
mod tests {
    use schemas::Timestamp;
    use schemas::event::RunRequested;
    use service_kit::output::Row as _;

    use super::*;
    use crate::runs::{Request, Run};

    fn rows(count: u32) -> Vec<RunRow> {
        let request = |number: u32| Request {
            run_id: schemas::RunId::parse(&format!("r{number}")).unwrap(),
            sequence: number.into(),
            time: Timestamp::from_micros(number.into()),
            request: RunRequested::new("digits"),
            is_for_failed_trials: false,
        };
        (0..count).map(|number| Run::Asked(Box::new(request(number))).row()).collect()
    }

    #[test]
    fn a_narrow_terminal_gets_short_rows_and_one_of_unknown_width_whole_ones() {
        assert!(is_narrow(Some((24, 80))) && !is_narrow(Some((24, 140))) && !is_narrow(None));
        let row = &rows(1)[0];
        assert_eq!(ShortRow(row).cells(), ["r0", "requested", "0/10", "0", "-"]);
        assert_eq!(ShortRow::headings(), &RunRow::headings()[..5]);
    }

    #[test]
    fn people_get_the_newest_fifty_and_everybody_what_they_ask_for() {
        let rows = rows(1200);
        assert_eq!(newest(&rows, None, true), &rows[1150..]);
        assert_eq!(newest(&rows, None, false).len(), 1200);
        for is_for_people in [true, false] {
            assert_eq!(newest(&rows, Some(2), is_for_people), &rows[1198..]);
            assert_eq!(newest(&rows, Some(u32::MAX), is_for_people).len(), 1200);
        }
        assert_eq!(newest(&rows[..3], None, true).len(), 3);
    }
}

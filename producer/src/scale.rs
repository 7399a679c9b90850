//! `scale`: changes how many trials of a run may be under way at once, while it runs or waits.
//!
//! The number stands in the run registry, where the worker that has the run sees it; what it may be is decided by
//! [`record::scale`]. Deliberately not here: slots. Fewer may be at hand than a run may use.

use schemas::RunId;
use serde::Serialize;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use service_kit::registry::Registry;
use service_kit::registry::record::{self, Scale};

use crate::connection::Shared;
use crate::runs::{self, Run};

/// The arguments of `scale`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The most is `budget.parallelism` of the run's request (4 if it says nothing): its search \
    looks back that many trials, so that more at once would change which candidates are tried. Trials under way are \
    never stopped; a smaller number holds as they end.\n\n\
    Examples:\n  producer scale RUN 1    leaves room for other runs\n  producer scale RUN 4    takes it back"
)]
pub struct ScaleArgs {
    /// The run
    #[arg(value_name = "RUN", value_parser = RunId::parse)]
    pub run: RunId,
    /// Trials that may be under way at once, from 1 to what the request allows
    #[arg(value_name = "N", value_parser = parse_count, allow_negative_numbers = true)]
    pub parallelism: u32,
    /// Broker, output, timeout.
    #[command(flatten)]
    pub shared: Shared,
}

#[derive(Serialize)]
struct Scaled<'a> {
    run_id: &'a RunId,
    parallelism: u32,
    before: u32,
}

/// Carries out `scale`.
pub(crate) async fn scale(args: &ScaleArgs) -> Result<Exit, CliError> {
    let broker = args.shared.connect().await?;
    let change = async {
        let run = runs::get(&broker, &args.run).await?;
        Ok((record(args, &broker, &run).await?, run))
    };
    let (scale, run) = args.shared.within(&broker, change).await?;
    let before = match scale {
        Scale::Set { before } => before,
        Scale::OutOfRange { limit } => return Err(out_of_range(args, limit)),
        Scale::Over => return Err(over(args, &run)),
        Scale::NotAsked => return Err(not_asked(args)),
    };
    say(args, before);
    let scaled = Scaled { run_id: &args.run, parallelism: args.parallelism, before };
    args.shared.output.printer().object(&scaled, |out| writeln!(out, "{} {}", args.run, args.parallelism))?;
    Ok(Exit::Done)
}

/// Writes it down, whatever else happens to the run meanwhile.
async fn record(args: &ScaleArgs, broker: &Broker, run: &Run) -> Result<Scale, CliError> {
    let decide = |known: Option<&_>| record::scale(known, &args.run, run.unclaimed(), args.parallelism);
    let changed = Registry::open(broker).await?.change(&args.run, decide).await;
    changed.map(|(_, scale)| scale).map_err(|error| runs::unavailable(&error))
}

fn say(args: &ScaleArgs, before: u32) {
    let (run, number) = (&args.run, args.parallelism);
    if before == number {
        return output::note(format!("run {run} had {number} already"));
    }
    output::note(format!("run {run} may have {number} trials under way at once, {before} before"));
}

fn out_of_range(args: &ScaleArgs, limit: u32) -> CliError {
    let what = format!("run {} can have at most {limit} trials under way at once", args.run);
    CliError::new("scale-too-large", Exit::InvalidInput, what)
        .because(format!(
            "its search looks back {limit} trials (budget.parallelism of its request); a higher number would change \
             which candidates are tried"
        ))
        .help("submit it as a new run with a larger budget.parallelism, such as --set budget.parallelism=8")
}

fn over(args: &ScaleArgs, run: &Run) -> CliError {
    let state = run.row().state;
    let what = if state.is_final() {
        format!("run {} is {state} and has no trials to come", args.run)
    } else {
        format!("run {} has just ended", args.run)
    };
    CliError::new("run-over", Exit::InvalidInput, what).help(format!(
        "`producer retry {}` runs a failed or cancelled run again; anything else is a new run: `producer submit`",
        args.run
    ))
}

/// Something is known of the run, but no request.
fn not_asked(args: &ScaleArgs) -> CliError {
    CliError::new("run-not-asked", Exit::NotFound, format!("nobody has asked for run {} yet", args.run)).help(
        format!("submit it with the number it shall have: --run-id {} --set budget.parallelism=N", args.run),
    )
}

/// A count from 1 on. One that is too large for us is too large for any run, and is told so with its limit.
fn parse_count(text: &str) -> Result<u32, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = if is_number { text.parse().unwrap_or(u32::MAX) } else { 0 };
    if count == 0 {
        return Err("expected a number of trials, from 1; `producer cancel` ends a run".to_owned());
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_whole_number_from_one_and_no_number_is_too_large_to_be_understood() {
        for text in ["0", "-1", "+1", "1.5", "", " 1", "two", "00"] {
            assert!(parse_count(text).is_err(), "{text}");
        }
        assert_eq!(parse_count("3"), Ok(3));
        assert_eq!(parse_count("99999999999999999999999999"), Ok(u32::MAX));
    }
}

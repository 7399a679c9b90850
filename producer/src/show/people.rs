//! `show` for a person: bounded, and no line of it can be made up by whoever wrote a message.

use std::io::{self, Write};

use schemas::Failure;
use service_kit::output::plain_text;

use super::details::{Details, Trial};
use super::excerpt;
use super::failures::{self, Group};

/// Trials that are listed; `-o json` has the others.
const MAX_TRIALS: usize = 50;
/// Causes of failed trials that are told.
const MAX_CAUSES: usize = 10;
/// Numbers that are named of the trials that share a cause.
const MAX_NUMBERS: usize = 10;
/// Longest fact, in characters.
const FACT_LIMIT: usize = 500;
/// Least room for an objective with something behind it.
const OBJECTIVE_WIDTH: usize = 8;
/// Characters of an id of MLflow.
const ID_WIDTH: usize = 32;
/// Longest message in the list of trials, in characters.
const REASON_LIMIT: usize = 80;

pub(super) fn write(out: &mut dyn Write, details: &Details) -> io::Result<()> {
    for (name, value) in facts(details) {
        writeln!(out, "{name:<14} {}", plain_text::one_line(&value, FACT_LIMIT))?;
    }
    write_trials(out, details)?;
    write_failures(out, &details.trials)
}

fn facts(details: &Details) -> Vec<(&'static str, String)> {
    let row = &details.row;
    let best = row.best_metric.map(|best| {
        let trial = row.best_trial_id.as_deref().unwrap_or("?");
        format!("{} {:.4} in {trial}", row.objective, best.0)
    });
    let setbacks = format!(
        "{} failures, {} interruptions, {} worker losses",
        details.failures, details.interruptions, details.worker_losses
    );
    let facts = [
        ("run", Some(row.run_id.to_string())),
        ("state", Some(row.state.to_string())),
        ("data set", Some(row.dataset_id.clone())),
        ("attempt", Some(row.attempt.to_string())),
        ("trials", Some(trials(details))),
        ("parallelism", details.parallelism.map(|number| number.to_string())),
        ("best", best),
        ("setbacks", Some(setbacks)),
        ("requested", Some(row.requested_at.to_string())),
        ("started", row.started_at.map(|time| time.to_string())),
        ("ended", row.ended_at.map(|time| time.to_string())),
        ("worker", row.worker_id.clone()),
        ("ended by", ended_by(details)),
        ("cancelled", details.cancel_requested.clone()),
        ("mlflow", details.mlflow_url.clone().or_else(|| details.mlflow_run_id.clone())),
        ("failure", details.failure.as_ref().map(cause)),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn trials(details: &Details) -> String {
    let row = &details.row;
    let under_way = match details.running_trials {
        0 => String::new(),
        trials => format!(", {trials} under way"),
    };
    format!("{} ({} failed{under_way})", row.trials(), row.failed_trials)
}

fn ended_by(details: &Details) -> Option<String> {
    let word = details.ended_by.clone()?;
    Some(match &details.ended_because {
        Some(because) => format!("{word}: {because}"),
        None => word,
    })
}

/// `user_code: boom (exit code 3)`.
fn cause(failure: &Failure) -> String {
    let end = match (failure.signal, failure.exit_code) {
        (Some(signal), _) => format!(" (signal {signal})"),
        (None, Some(code)) => format!(" (exit code {code})"),
        (None, None) => String::new(),
    };
    // The message is cut so that how the process ended is always seen.
    format!("{}: {}{end}", failure.class, plain_text::one_line(&failure.message, FACT_LIMIT - 100))
}

fn write_trials(out: &mut dyn Write, details: &Details) -> io::Result<()> {
    if details.trials.is_empty() {
        return Ok(());
    }
    let shown = &details.trials[..details.trials.len().min(MAX_TRIALS)];
    let name = plain_text::one_line(&details.row.objective, REASON_LIMIT);
    // The column of MLflow's ids is there when there is one.
    let tracked = shown.iter().any(|trial| trial.mlflow_run_id.is_some());
    let width = if tracked { name.chars().count().max(OBJECTIVE_WIDTH) } else { 0 };
    let mlflow = if tracked { "  mlflow" } else { "" };
    writeln!(out, "\ntrial  status     {name:<width$}{mlflow}")?;
    for trial in shown {
        let objective = trial.objective.map_or_else(|| "-".to_owned(), |value| format!("{:.4}", value.0));
        let id = plain_text::one_line(trial.mlflow_run_id.as_deref().unwrap_or("-"), ID_WIDTH);
        let id = if tracked { format!("  {id:<ID_WIDTH$}") } else { String::new() };
        let reason = trial.failure.as_ref().map_or_else(String::new, cause);
        let reason = plain_text::one_line(&reason, REASON_LIMIT);
        let (name, status) = (trial.name(), trial.status.as_str());
        let line = format!("{name:<5}  {status:<9}  {objective:<width$}{id}  {reason}");
        writeln!(out, "{}", line.trim_end())?;
    }
    match details.trials.len().saturating_sub(MAX_TRIALS) {
        0 => Ok(()),
        left => writeln!(out, "and {left} more; -o json has them all"),
    }
}

fn write_failures(out: &mut dyn Write, trials: &[Trial]) -> io::Result<()> {
    let groups = failures::grouped(trials);
    if groups.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nfailed trials")?;
    for group in groups.iter().take(MAX_CAUSES) {
        write_group(out, group)?;
    }
    let left: usize = groups.iter().skip(MAX_CAUSES).map(|group| group.trials.len()).sum();
    let hint = "-o json has all of every failure";
    match left {
        0 => writeln!(out, "{hint}"),
        left => writeln!(out, "and {left} more that died of something else; {hint}"),
    }
}

fn write_group(out: &mut dyn Write, group: &Group<'_>) -> io::Result<()> {
    let example = group.example();
    let cause = example.map_or_else(|| "nobody said why".to_owned(), |(_, failure)| cause(failure));
    let cause = plain_text::one_line(&cause, FACT_LIMIT);
    match group.trials.as_slice() {
        [trial] => writeln!(out, "  trial {}: {cause}", trial.name())?,
        trials => writeln!(out, "  {} trials: {cause}\n    {}", trials.len(), names(trials))?,
    }
    let Some((trial, (source, lines))) =
        example.and_then(|(trial, failure)| Some((trial, excerpt::of(failure)?)))
    else {
        return Ok(());
    };
    writeln!(out, "    the last lines of trial {} ({source}):", trial.name())?;
    lines.iter().try_for_each(|line| writeln!(out, "    | {line}"))
}

fn names(trials: &[&Trial]) -> String {
    let mut names: Vec<String> = trials.iter().take(MAX_NUMBERS).map(|trial| trial.name()).collect();
    if let Some(left) = trials.len().checked_sub(MAX_NUMBERS).filter(|left| *left > 0) {
        names.push(format!("{left} more"));
    }
    names.join(", ")
}

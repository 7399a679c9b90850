//! `schemas check`: may the contract be as it is? Every version reads every other, and what was published stays.
//!
//! Three states can be held against the rules: the schemas this build was made with, those of a folder, and those of a
//! git revision beside either. Which rules there are is `schemas::evolution`'s to say.

mod files;
mod git;
mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemas::evolution::{self, Candidate, Finding, Published};
use schemas::record::Version;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{self, Format, OutputArgs, Printer};

use git::Repository;
use report::Line;

/// Flags of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Also compare with this git revision: what it had published must still be there, unaltered
    #[arg(long, value_name = "REV")]
    against: Option<String>,
    /// Folder with <record>.v<N>.avsc files to check [default: the schemas of this build; with --against those of the
    /// working tree]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Folder of the repository that holds avro/ and golden/
    #[arg(long, value_name = "PATH", default_value = "schemas", requires = "against")]
    path: String,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// What was checked, what was found, and what is to be said besides.
struct Outcome {
    checked: Vec<Candidate>,
    findings: Vec<Finding>,
    compared: Option<String>,
}

pub(super) async fn check(args: CheckArgs) -> Result<Exit, CliError> {
    let printer = args.output.printer();
    // Reading files and waiting for git, on a thread that a signal need not wait for.
    let outcome = tokio::task::spawn_blocking(move || outcome(&args))
        .await
        .map_err(|error| CliError::internal("the check ended early").because(error))??;
    report(&outcome, printer)
}

fn outcome(args: &CheckArgs) -> Result<Outcome, CliError> {
    let Some(revision) = &args.against else {
        let checked = args.dir.as_deref().map_or_else(|| Ok(embedded()), required_schemas)?;
        let findings = evolution::check(&checked);
        return Ok(Outcome { checked, findings, compared: None });
    };
    let here = args.dir.as_deref().unwrap_or(Path::new("."));
    let repository = Repository::around(here)?;
    let (commit, then) = repository.published(revision, &args.path)?;
    let root = repository.top().join(&args.path);
    let schemas = match &args.dir {
        Some(dir) => required_schemas(dir)?,
        None => files::schemas(&root.join("avro"))?,
    };
    if schemas.is_empty() && then.schemas.is_empty() {
        let what = format!("neither {revision} nor the working tree has schemas in {}/avro", args.path);
        return Err(CliError::new("schemas-missing", Exit::NotFound, what)
            .help("--path says in which folder of the repository avro/ and golden/ are"));
    }
    let now = Published { schemas, golden: files::golden(&root.join("golden"))? };
    let compared = Some(remark(revision, &commit, &then));
    let mut findings = evolution::alterations(&then, &now);
    let checked = union(now.schemas, then.schemas);
    findings.extend(evolution::check(&checked));
    findings.sort();
    findings.dedup();
    Ok(Outcome { checked, findings, compared })
}

fn embedded() -> Vec<Candidate> {
    let candidate = |version: &Version| Candidate {
        record: version.record.file_name().to_owned(),
        version: version.number,
        text: version.text.to_owned(),
    };
    Version::all().map(candidate).collect()
}

/// Whoever names a folder wants something in it to be checked.
fn required_schemas(dir: &Path) -> Result<Vec<Candidate>, CliError> {
    let missing = |what: String| {
        CliError::new("schemas-missing", Exit::NotFound, what)
            .help("--dir is a folder with files such as run_started.v1.avsc")
    };
    if !dir.is_dir() {
        return Err(missing(format!("there is no folder {}", dir.display())));
    }
    let found = files::schemas(dir)?;
    if found.is_empty() {
        return Err(missing(format!("{} holds no schema", dir.display())));
    }
    Ok(found)
}

/// Today's, and what is no longer there: a version that was removed still has readers.
fn union(mut now: Vec<Candidate>, then: Vec<Candidate>) -> Vec<Candidate> {
    for old in then {
        if !now.iter().any(|new| new.record == old.record && new.version == old.version) {
            now.push(old);
        }
    }
    now
}

/// What the revision had, said in a few words.
fn remark(revision: &str, commit: &str, then: &Published) -> String {
    let short = commit.get(..12).unwrap_or(commit);
    let schemas = match then.schemas.len() {
        0 => "no schemas yet".to_owned(),
        count => format!("{count} schemas"),
    };
    let golden = match then.golden.len() {
        0 => "no recorded bytes yet".to_owned(),
        count => format!("{count} recorded files"),
    };
    format!("{revision} ({short}) had {schemas} and {golden}")
}

fn report(outcome: &Outcome, printer: Printer) -> Result<Exit, CliError> {
    let Outcome { checked, findings, compared } = outcome;
    let lines: Vec<Line> = findings.iter().map(|finding| Line::of(finding, checked)).collect();
    if !lines.is_empty() || printer.format() != Format::Table {
        printer.rows(&lines)?;
    }
    let records: BTreeSet<&str> = checked.iter().map(|candidate| candidate.record.as_str()).collect();
    let scope = format!("checked {} versions of {} records", checked.len(), records.len());
    let compared = compared.as_ref().map(|remark| format!("; {remark}")).unwrap_or_default();
    if !lines.is_empty() {
        let rules = if lines.len() == 1 { "rule is" } else { "rules are" };
        output::note(format!("{scope}: {} {rules} broken{compared}", lines.len()));
        return Ok(Exit::Findings);
    }
    let stays = if compared.is_empty() { "" } else { ", nothing published was altered" };
    output::note(format!("{scope}: each reads every other{stays}{compared}"));
    Ok(Exit::Done)
}

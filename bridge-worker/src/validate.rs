//! `validate`: could a worker that is started with these flags do its work? One line per check, with the remedy.
//!
//! The same flags as `serve`, so that one word turns the question into the deed. Every check looks at one thing: what it
//! depends on and what is not there makes it a warning that it was not made. Nothing is created or changed, but for the
//! child runtime, which the child that is tried out has to be started from.

mod broker;
mod child;
mod machine;

use service_kit::check::{Findings, Status, bounded, mlflow};
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::mlflow::ServerArgs;
use service_kit::output::{Format, OutputArgs, Printer};

use crate::cli::ServeArgs;

/// Flags of `validate`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Exit code: 0 if nothing is in error (warnings pass), 9 otherwise.")]
pub struct ValidateArgs {
    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// A shut gate CEREBROS_ENABLED is an error, not a warning
    #[arg(long)]
    require_enabled: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    mlflow: ServerArgs,
    /// What the worker would be started with.
    #[command(flatten)]
    serve: ServeArgs,
}

impl ValidateArgs {
    /// The output format that was asked for.
    pub fn format(&self) -> Option<Format> {
        if self.json { Some(Format::Json) } else { self.output.output }
    }
}

/// Carries out every check.
pub(crate) async fn validate(args: ValidateArgs) -> Result<Exit, CliError> {
    let serve = &args.serve;
    // What cannot be understood is a finding like any other: whoever asks hears of the rest as well.
    let target = serve.broker.resolve();
    let mut checks = vec![
        machine::feature_flag(serve.gates.has_feature()),
        machine::config_enabled(serve.gates.gates(), args.require_enabled),
        machine::repo_path(&serve.repo),
        machine::script_path(serve.script.as_deref()),
        bounded("python", machine::python(&serve.python)).await,
        machine::working_dir(serve),
        machine::version(&serve.repo),
        machine::cache_capacity(&serve.cache),
    ];
    let has_python = checks.iter().any(|check| check.name == "python" && check.status == Status::Ok);
    let (of_the_broker, mlflow, child) = tokio::join!(
        broker::checks(target),
        bounded("mlflow", mlflow::check(&args.mlflow, &serve.broker.data_dir)),
        child::check(serve, has_python),
    );
    checks.extend(of_the_broker);
    checks.extend([mlflow, child]);
    let findings = Findings::of(checks);
    findings.print(match args.format() {
        Some(format) => Printer::new(format),
        None => args.output.printer(),
    })?;
    Ok(if findings.status == Status::Error { Exit::Findings } else { Exit::Done })
}

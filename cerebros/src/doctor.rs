//! `cerebros doctor`: is this machine, and the pipeline it looks at, in order? One line per check, with the remedy.
//!
//! Invariants: nothing is created or changed; every check has a deadline and all run at once, so that the answer is
//! there within seconds whatever is broken; a check that cannot be made says so instead of passing.

mod broker;
mod check;
mod machine;
mod mlflow;

use std::io::{self, Write};

use serde::Serialize;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{Format, OutputArgs, Printer};

use check::{Check, Status, bounded};
use mlflow_sink::ServerArgs;

/// Flags of `doctor`.
#[derive(Debug, Clone, clap::Args)]
pub struct DoctorArgs {
    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Exit with 9 if any check is not ok
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    mlflow: ServerArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl DoctorArgs {
    /// The output format that was asked for.
    pub(crate) fn format(&self) -> Option<Format> {
        if self.json { Some(Format::Json) } else { self.output.output }
    }
}

#[derive(Debug, Serialize)]
struct Findings {
    status: Status,
    checks: Vec<Check>,
}

/// Carries out every check.
pub(crate) async fn doctor(args: &DoctorArgs) -> Result<Exit, CliError> {
    let target = args.broker.resolve()?;
    let data_dir = &args.broker.data_dir;
    let (python, nats_server, disk, ports, of_the_broker, mlflow) = tokio::join!(
        bounded("python", machine::python()),
        bounded("nats_server", machine::nats_server(data_dir)),
        bounded("data_dir", async { machine::data_dir(data_dir) }),
        bounded("ports", async { machine::ports(data_dir) }),
        broker::checks(&target),
        bounded("mlflow", mlflow::check(&args.mlflow, data_dir)),
    );
    let mut checks = vec![python, nats_server, disk, ports];
    checks.extend(of_the_broker);
    checks.push(mlflow);
    let status = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    let findings = Findings { status, checks };
    print(&findings, args)?;
    Ok(if args.strict && findings.status != Status::Ok { Exit::Findings } else { Exit::Done })
}

fn print(findings: &Findings, args: &DoctorArgs) -> Result<(), CliError> {
    let printer = match args.format() {
        Some(format) => Printer::new(format),
        None => args.output.printer(),
    };
    match printer.format() {
        Format::Ndjson => findings.checks.iter().try_for_each(|check| printer.stream_item(check, "")),
        Format::Json | Format::Table => printer.object(findings, |out| write(out, findings)),
    }
}

fn write(out: &mut dyn Write, findings: &Findings) -> io::Result<()> {
    for check in &findings.checks {
        writeln!(out, "{:<8} {:<12} {}", check.status.as_str(), check.name, check.message)?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "{:<8} {:<12} help: {remedy}", "", "")?;
        }
    }
    Ok(())
}

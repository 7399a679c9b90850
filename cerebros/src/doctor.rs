//! `cerebros doctor`: is this machine, and the pipeline it looks at, in order? One line per check, with the remedy.
//!
//! Invariants: nothing is created or changed; every check has a deadline and all run at once, so that the answer is
//! there within seconds whatever is broken; a check that cannot be made says so instead of passing.

mod broker;
mod machine;

use service_kit::check::{Findings, Status, bounded, mlflow};
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::mlflow::ServerArgs;
use service_kit::output::{Format, OutputArgs, Printer};

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
    let findings = Findings::of(checks);
    findings.print(match args.format() {
        Some(format) => Printer::new(format),
        None => args.output.printer(),
    })?;
    Ok(if args.strict && findings.status != Status::Ok { Exit::Findings } else { Exit::Done })
}

//! The program `dlq-classifier`.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::program::run("dlq-classifier", |cli: dlq_classifier::Cli, shutdown| {
        dlq_classifier::run(cli.command, shutdown)
    })
}

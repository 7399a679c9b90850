//! `producer`: asks for architecture searches and follows them.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::program::run("producer", |cli: producer::Cli, shutdown| producer::run(cli.command, shutdown))
}

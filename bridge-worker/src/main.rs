//! The program `bridge-worker`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::program::run("bridge-worker", |cli: bridge_worker::Cli, shutdown| {
        bridge_worker::run(cli.command, shutdown)
    })
}

//! The program `bridge-worker`; see the library.

use std::process::ExitCode;

/// A run is many small, short-lived allocations on two threads; the system's allocator was a tenth of its cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    service_kit::program::run("bridge-worker", |cli: bridge_worker::Cli, shutdown| {
        bridge_worker::run(cli.command, shutdown)
    })
}

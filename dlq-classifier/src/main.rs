//! The program `dlq-classifier`.

use std::process::ExitCode;

/// Every message and every letter is many small, short-lived allocations, on two threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = dlq_classifier::edit::jq::take_over() {
        return code;
    }
    service_kit::program::run("dlq-classifier", |cli: dlq_classifier::Cli, shutdown| {
        dlq_classifier::run(cli.command, shutdown)
    })
}

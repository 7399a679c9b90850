//! The program `cerebros`; see the library.

use std::process::ExitCode;

/// As in `bridge-worker`, whose command this binary has too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = dlq_classifier::edit::jq::take_over() {
        return code;
    }
    service_kit::program::run("cerebros", cerebros::run)
}

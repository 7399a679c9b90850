//! The program `cerebros`; see the library.

use std::process::ExitCode;

/// As in `bridge-worker`, whose command this binary has too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    service_kit::program::run("cerebros", cerebros::run)
}

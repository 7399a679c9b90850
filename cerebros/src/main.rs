//! The program `cerebros`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::program::run("cerebros", cerebros::run)
}

//! The ratios we promise, each measured in one run beside the raw thing or beside what people use today; and what no
//! crash may break ([`chaos`]).
//!
//! Invariants:
//! - what is compared runs on the same machine in the same minute, in alternating order, after a warm-up;
//! - the programs measured are the release binaries, built by this program first, with their default settings but for the
//!   result cache, which would answer what is repeated;
//! - what could not be measured is a row that says so and how to get it, never a row less;
//! - everything that is started ends with this program, and nothing is installed outside the checkout.
//!
//! It prints through `service_kit::output` alone: the table on standard output, progress on standard error. It
//! deliberately does not judge by absolute numbers where a ratio will do: machines differ, ratios travel.

mod chaos;
mod child;
mod cli;
mod compare;
mod contracts;
mod environments;
mod faults;
mod letters;
mod memory;
mod process_table;
mod profile;
mod programs;
mod registry_tap;
mod resume;
mod runs;
mod service;
mod slots;
mod stand;
mod stream_client;
mod streamed;
mod table;
mod timings;
mod tracking;
mod trials;

use std::process::ExitCode;

/// That of the programs that publish most, so that what is measured in this process costs what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    service_kit::program::run("bench", |cli: cli::Cli, _shutdown| cli::run(cli))
}

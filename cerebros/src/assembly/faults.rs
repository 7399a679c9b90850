//! What a failed start is for a person: the program, its own last words, the remedy, the exit code.

use local_stack::install::InstallError;
use local_stack::ports::PortError;
use local_stack::readiness::StartError;
use service_kit::error::CliError;
use service_kit::exit::Exit;

/// A tool could not be installed.
pub(super) fn not_installed(error: &InstallError) -> CliError {
    let (code, exit) = match error {
        InstallError::NoPython { .. } | InstallError::PythonTooOld { .. } => ("python", Exit::LocalResource),
        InstallError::Write { .. } | InstallError::Read { .. } => ("data-dir", Exit::LocalResource),
        InstallError::Spawn { .. } => ("install-failed", Exit::LocalResource),
        InstallError::Failed { .. } | InstallError::TooSlow { .. } => ("install-failed", Exit::Unreachable),
        InstallError::Cancelled { .. } => ("install-cancelled", Exit::Interrupted),
    };
    with(CliError::new(code, exit, error), error.because()).help(error.help())
}

/// A program did not start.
pub(super) fn not_started(error: &StartError) -> CliError {
    let (code, exit) = match error {
        StartError::Port { .. } => ("port-busy", Exit::LocalResource),
        StartError::Spawn { .. } | StartError::Write { .. } => ("start-failed", Exit::LocalResource),
        StartError::Ended { .. } | StartError::Silent { .. } => ("start-failed", Exit::Unreachable),
    };
    with(CliError::new(code, exit, error), error.because()).help(error.help())
}

/// There is no port, and perhaps a flag asked for the one there is not.
pub(super) fn no_port(error: &PortError, flag: &str, program: &str) -> CliError {
    CliError::new("port-busy", Exit::LocalResource, error)
        .because(format!("{flag} asks for it, for {program}"))
        .help(format!("{}; without {flag} a free one is found", error.help()))
}

fn with(error: CliError, because: Option<String>) -> CliError {
    match because {
        Some(because) => error.because(because),
        None => error,
    }
}

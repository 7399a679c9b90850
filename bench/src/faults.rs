//! Faults of the environment, as a person is told: a missing tool or a silent program is exit code 6, a port, a
//! disk or a build is 7. Nothing of this is a finding.

use local_stack::install::InstallError;
use local_stack::process::SpawnError;
use local_stack::readiness::StartError;
use service_kit::error::CliError;
use service_kit::exit::Exit;

/// A tool could not be installed.
pub(crate) fn not_installed(error: &InstallError) -> CliError {
    let exit = match error {
        InstallError::Write { .. }
        | InstallError::Read { .. }
        | InstallError::NoPython { .. }
        | InstallError::PythonTooOld { .. } => Exit::LocalResource,
        InstallError::Spawn { .. }
        | InstallError::Failed { .. }
        | InstallError::TooSlow { .. }
        | InstallError::Cancelled { .. } => Exit::Unreachable,
    };
    let told = CliError::new("not-installed", exit, error).help(error.help());
    match error.because() {
        Some(because) => told.because(because),
        None => told,
    }
}

/// A program of the stack did not start.
pub(crate) fn not_started(error: &StartError) -> CliError {
    let exit = match error {
        StartError::Port { .. } | StartError::Spawn { .. } | StartError::Write { .. } => Exit::LocalResource,
        StartError::Ended { .. } | StartError::Silent { .. } => Exit::Unreachable,
    };
    let told = CliError::new("not-started", exit, error).help(error.help());
    match error.because() {
        Some(because) => told.because(because),
        None => told,
    }
}

/// A program could not be executed.
pub(crate) fn not_spawned(error: &SpawnError) -> CliError {
    CliError::new("not-spawned", Exit::LocalResource, error)
}

/// Something did not answer in time.
pub(crate) fn silent(what: impl std::fmt::Display, waited: std::time::Duration) -> CliError {
    let text = format!("{what} did not happen within {} s", waited.as_secs());
    CliError::new("silent", Exit::Unreachable, text)
}

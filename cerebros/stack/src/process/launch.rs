//! What to start, and why it could not be.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::SPAWN_DEADLINE;

const GUARD: &str = include_str!("guard.sh");

/// What to start, and where its output goes.
#[derive(Debug, Clone)]
pub struct Launch {
    pub(super) program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    cwd: Option<PathBuf>,
    pub(super) log: PathBuf,
}

impl Launch {
    /// Starts `program` (a path, not looked up on PATH) with stdout and stderr appended to `log`.
    pub fn new(program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        let program = program.into();
        // The guard looks it up after it changed to the program's working directory.
        let program = std::path::absolute(&program).unwrap_or(program);
        Self { program, args: Vec::new(), env: Vec::new(), cwd: None, log: log.into() }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one variable; the rest of the environment is inherited.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), Some(value.into())));
        self
    }

    /// Takes one inherited variable away.
    #[must_use]
    pub fn without_env(mut self, key: impl Into<OsString>) -> Self {
        self.env.push((key.into(), None));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        // Without its comments: the script is what a person sees in a list of processes.
        let script: Vec<&str> = GUARD.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        command.arg("-c").arg(script.join("\n")).arg("cerebros-guard").arg(&self.program).args(&self.args);
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such file, or it may not be executed.
    #[error("{} is not an executable file", program.display())]
    NotExecutable {
        /// The path that was tried.
        program: PathBuf,
    },
    /// The log file cannot be written.
    #[error("cannot write the log file {}", path.display())]
    Log {
        /// The log file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The operating system refused a new process.
    #[error("cannot start {}", program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The guard did not report a process in time.
    #[error("{} was not started within {} s", program.display(), SPAWN_DEADLINE.as_secs())]
    Silent {
        /// The program.
        program: PathBuf,
    },
}

/// True for a file that somebody may execute.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

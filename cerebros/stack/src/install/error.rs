//! Why a tool is not there.

use std::path::PathBuf;
use std::time::Duration;

use crate::process::SpawnError;

/// Why a tool could not be installed. `Display` says what, [`InstallError::because`] why, [`InstallError::help`]
/// what to do. In every case nothing half installed was left behind.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No interpreter was found.
    #[error("there is no Python: {tried} cannot be executed")]
    NoPython {
        /// What was tried.
        tried: String,
    },
    /// The interpreter is too old.
    #[error("{} is Python {}.{}, needed is 3.10 or newer", python.display(), found.0, found.1)]
    PythonTooOld {
        /// The interpreter.
        python: PathBuf,
        /// Its version.
        found: (u32, u32),
    },
    /// A file or directory could not be made.
    #[error("cannot write {}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file that should be there cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A program of the installation could not be started.
    #[error("cannot install {title}")]
    Spawn {
        /// What was to be installed.
        title: String,
        /// Why not.
        source: SpawnError,
    },
    /// A program of the installation failed.
    #[error("cannot install {title}: {step} failed")]
    Failed {
        /// What was to be installed.
        title: String,
        /// Which step.
        step: &'static str,
        /// The last lines it printed.
        printed: String,
        /// Where the rest is.
        log: PathBuf,
    },
    /// It took too long; its processes were stopped.
    #[error("cannot install {title}: not done after {} s ({step})", waited.as_secs())]
    TooSlow {
        /// What was to be installed.
        title: String,
        /// Which step.
        step: &'static str,
        /// The deadline.
        waited: Duration,
        /// Where the output is.
        log: PathBuf,
    },
    /// The caller cancelled; its processes were stopped.
    #[error("installing {title} was cancelled")]
    Cancelled {
        /// What was to be installed.
        title: String,
    },
}

impl InstallError {
    /// The cause, in the words of who said no.
    pub fn because(&self) -> Option<String> {
        match self {
            Self::NoPython { .. } | Self::PythonTooOld { .. } | Self::Cancelled { .. } => None,
            Self::Write { source, .. } | Self::Read { source, .. } => Some(source.to_string()),
            Self::Spawn { source, .. } => Some(source.to_string()),
            Self::Failed { printed, .. } => (!printed.is_empty()).then(|| printed.clone()),
            Self::TooSlow { log, .. } => {
                Some(crate::process::last_lines(log, 3)).filter(|lines| !lines.is_empty())
            }
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::NoPython { .. } | Self::PythonTooOld { .. } => {
                "install Python 3.10 or newer, or name one with CEREBROS_PYTHON".to_owned()
            }
            Self::Write { path, .. } => {
                format!(
                    "make {} writable, or name another data directory with CEREBROS_DATA_DIR",
                    path.display()
                )
            }
            Self::Read { path, .. } => format!("check that {} is there", path.display()),
            Self::Spawn { .. } => "check that the program it names exists and may be executed".to_owned(),
            Self::Failed { printed, log, .. } => {
                format!("{} The whole log is {}.", remedy(printed), log.display())
            }
            Self::TooSlow { log, .. } => {
                format!("check the network and run it again; the log is {}", log.display())
            }
            Self::Cancelled { .. } => "run it again; it starts from the beginning".to_owned(),
        }
    }
}

/// The remedy for the failures people really meet; the tools' own words stand beside it.
fn remedy(printed: &str) -> &'static str {
    let printed = printed.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| printed.contains(word));
    if says(&["do not match the hashes", "hash mismatch", "eintegrity"]) {
        "A package is not the one that was locked: something between here and the index changes files. Do not use it."
    } else if says(&["ensurepip", "python3-venv"]) {
        "This Python cannot make virtual environments: install its venv package (python3-venv), or uv."
    } else if says(&["no space left"]) {
        "The disk is full: free about 1.2 GB, or name another data directory with CEREBROS_DATA_DIR."
    } else if says(&["certificate", "ssl"]) {
        "The index's certificate is not trusted: name your certificates with PIP_CERT (pip), SSL_CERT_FILE (uv) or \
         NODE_EXTRA_CA_CERTS (npm)."
    } else if says(&["no matching distribution", "no usable wheels", "no solution found"]) {
        "The index has no such package for this machine and Python: try another Python with CEREBROS_PYTHON, or \
         another index in the settings of pip or uv."
    } else {
        "Check the network, or name an index or proxy in the settings of pip, uv or npm, and run it again."
    }
}

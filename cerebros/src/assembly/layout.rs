//! What lies where under the data directory. Nothing is written anywhere else.

use std::path::{Path, PathBuf};

use service_kit::error::CliError;
use service_kit::exit::Exit;

/// Name of the lock in a data directory.
pub(super) const LOCK: &str = "up.lock";

/// The flag of every command that has a stack of its own.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DataDirArg {
    /// Directory of the local stack and of everything that is written
    #[arg(long, env = "CEREBROS_DATA_DIR", value_name = "DIR", default_value = "./.cerebros")]
    pub(crate) data_dir: PathBuf,
}

/// The places under one data directory. All of them are absolute: children run elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    root: PathBuf,
    logs: PathBuf,
}

impl Layout {
    /// The places under `data_dir`; makes the directory.
    ///
    /// # Errors
    /// When it cannot be made or written: exit code 7.
    pub(crate) fn create(data_dir: &Path) -> Result<Self, CliError> {
        let refused = |error| unwritable(data_dir, &error);
        let root = std::path::absolute(data_dir).map_err(refused)?;
        std::fs::create_dir_all(&root).map_err(refused)?;
        // Links are resolved once, so that a path that is shown is the one that is used.
        let root = root.canonicalize().map_err(refused)?;
        Ok(Self { logs: root.join("logs"), root })
    }

    /// The same with the logs elsewhere, where they may outlive the rest.
    pub(crate) fn with_logs(self, logs: PathBuf) -> Self {
        Self { logs, ..self }
    }

    /// The data directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the output of every program goes.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    /// The log of one program.
    pub(crate) fn log(&self, program: &str) -> PathBuf {
        self.logs.join(format!("{program}.log"))
    }

    /// The streams.
    pub(crate) fn broker(&self) -> PathBuf {
        self.root.join("broker")
    }

    /// MLflow's database and artefacts.
    pub(crate) fn mlflow(&self) -> PathBuf {
        self.root.join("mlflow")
    }

    /// Directory that data sets given by path must lie in.
    pub(crate) fn datasets(&self) -> PathBuf {
        self.root.join("datasets")
    }

    /// Models that a demo has brought home.
    pub(crate) fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The tools, which the stacks of several data directories may share.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Held by whoever runs the stack.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(LOCK)
    }
}

/// The error for a data directory that does not take what we want to write.
pub(crate) fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new("data-dir", Exit::LocalResource, format!("cannot write to {}", path.display()))
        .because(error)
        .help("make it writable, or choose another data directory with --data-dir or CEREBROS_DATA_DIR")
}

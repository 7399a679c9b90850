//! A real MLflow server. It takes seven seconds to start: tests that do not disturb it share one per test process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use local_stack::{MlflowConfig, mlflow::Mlflow as Server};
use tokio::sync::OnceCell;

use crate::nats::started;
use crate::processes::alive;
use crate::{Scratch, mlflow_python, mlflow2_python};

/// Every test of a process waits for the shared one, on a machine that compiles or runs other tests at the same time.
const DEADLINE: Duration = Duration::from_secs(240);

/// An MLflow server on a random port.
#[derive(Debug)]
pub struct Mlflow {
    // Before the directory it writes to: fields are dropped in this order.
    server: Server,
    _dir: Option<Scratch>,
}

impl Mlflow {
    /// One of this test's own, for tests that stop or restart it; ends on drop.
    pub async fn start() -> Self {
        let dir = Scratch::new();
        let server = serve(mlflow_python().await, dir.path()).await;
        Self { server, _dir: Some(dir) }
    }

    /// The same as its users start it, without a word about its workers.
    pub async fn start_as_it_comes() -> Self {
        let dir = Scratch::new();
        let config = MlflowConfig { workers: None, ..config(mlflow_python().await, dir.path()) };
        Self { server: started(Server::start(config).await), _dir: Some(dir) }
    }

    /// The one all tests of this process share; ends with the process. Keep apart with [`experiment_name`].
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Mlflow> = OnceCell::const_new();
        SHARED.get_or_init(async || Self::of(mlflow_python().await, "3").await).await
    }

    /// The same of version 2.
    pub async fn shared_2() -> &'static Self {
        static SHARED: OnceCell<Mlflow> = OnceCell::const_new();
        SHARED.get_or_init(async || Self::of(mlflow2_python().await, "2").await).await
    }

    async fn of(python: PathBuf, version: &str) -> Self {
        // The next test tries again where one could not start: half a database would not let it.
        static TRIES: AtomicU32 = AtomicU32::new(1);
        let dir = format!("{version}-{}", TRIES.fetch_add(1, Ordering::Relaxed));
        Self { server: serve(python, &shared_dir().join(dir)).await, _dir: None }
    }

    /// `http://127.0.0.1:PORT`, the tracking URI.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// SIGKILL. Use [`Mlflow::restart`] to have it back with the same port and data.
    pub async fn kill(&self) {
        self.server.kill_now().await;
    }

    /// The same port and data again; stops it first if it still runs.
    pub async fn restart(&mut self) {
        started(self.server.restart().await);
    }
}

/// An experiment name no other test uses, also not one of an earlier run on the same server.
pub fn experiment_name(test: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{test}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn serve(python: PathBuf, dir: &Path) -> Server {
    started(Server::start(config(python, dir)).await)
}

fn config(python: PathBuf, dir: &Path) -> MlflowConfig {
    let config = MlflowConfig::new(python, dir.join("mlflow"), dir.join("mlflow.log"));
    MlflowConfig { deadline: DEADLINE, ..config }
}

/// Nothing runs at the end of a test process, so each one removes what those before it left.
fn shared_dir() -> PathBuf {
    let all = std::env::temp_dir().join("cerebros-testkit-mlflow");
    for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
        let owner = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if owner.is_some_and(|pid| !alive(pid)) {
            // Another test process may be removing the same one.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    all.join(std::process::id().to_string())
}

//! A server started the way one test needs it.

use std::path::PathBuf;

use testkit::{Port, Scratch, wait_until};
use tokio::process::{Child, Command};

use crate::pipeline::CAUGHT_UP;

/// Name of the file of the database.
const DATABASE: &str = "mlflow.db";

/// An MLflow of version 3 with flags of the test's own; ends on drop.
pub(crate) struct Own {
    process: Child,
    pub(crate) url: String,
    dir: Scratch,
    _port: Port,
}

impl Own {
    /// One whose database a test damages.
    pub(crate) async fn with_a_database() -> Self {
        Self::start(&["--artifacts-destination", "files"]).await
    }

    /// Removes what is deleted in an experiment for good, as `mlflow gc` does.
    pub(crate) async fn purge(&self, experiment: &str) {
        let done = Command::new(testkit::mlflow_python().await)
            .args(["-m", "mlflow", "gc", "--tracking-uri", &self.url])
            .args(["--backend-store-uri", &format!("sqlite:///{}", self.database().display())])
            .args(["--run-ids", &self.deleted_run(experiment).await])
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .output()
            .await
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    async fn deleted_run(&self, experiment: &str) -> String {
        let server = crate::server::Server::at(&self.url);
        let body = serde_json::json!({
            "experiment_ids": [server.experiment(experiment).await], "run_view_type": "DELETED_ONLY",
        });
        let found = server.post("runs/search", body).await;
        found["runs"][0]["info"]["run_id"].as_str().unwrap().to_owned()
    }

    /// The file of its database.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    /// One that was told to take no files, although its runs say that it keeps them.
    pub(crate) async fn that_takes_no_files() -> Self {
        Self::start(&["--no-serve-artifacts", "--default-artifact-root", "mlflow-artifacts:/"]).await
    }

    /// One that is divided into workspaces.
    pub(crate) async fn with_workspaces() -> Self {
        Self::start(&["--enable-workspaces", "--artifacts-destination", "files"]).await
    }

    async fn start(flags: &[&str]) -> Self {
        let (dir, port) = (Scratch::new(), Port::new());
        let process = Command::new(testkit::mlflow_python().await)
            .args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"])
            .args(["--port", &port.address().port().to_string()])
            .args(["--backend-store-uri", &format!("sqlite:///{}", dir.join(DATABASE).display())])
            .args(flags)
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .current_dir(dir.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut server = Self { process, url: format!("http://{}", port.address()), dir, _port: port };
        let http = service_kit::mlflow::http::bare().no_proxy().build().unwrap();
        wait_until("the server answers", CAUGHT_UP, async || {
            assert_eq!(server.process.try_wait().unwrap(), None, "it ended before it answered");
            let asked = http.get(format!("{}/health", server.url)).send().await;
            asked.ok()?.status().is_success().then_some(())
        })
        .await;
        server
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // The server proper is a child of it.
        if let Some(group) = self.process.id() {
            // One that has ended by itself is none to end.
            let _ = std::process::Command::new("kill").args(["-9", "--", &format!("-{group}")]).status();
        }
    }
}

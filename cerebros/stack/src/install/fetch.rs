//! Makes one environment in an empty directory: with `uv` when it is on PATH, else with Python's own venv and pip.
//!
//! Both read the user's settings for index, proxy and certificates. If `uv` fails, which it may where only pip was
//! given an index, pip is tried and that is said.

use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::python::Python;
use super::steps::Steps;
use super::{InstallError, Notice, Package, Tools};
use crate::process::Launch;

const MAKE: &str = "making a virtual environment";
const FETCH: &str = "fetching packages";
const PROVE: &str = "trying it out";

pub(super) async fn environment(
    tools: &Tools,
    package: &Package,
    python: &Python,
    into: &Path,
    name: &str,
    end: Instant,
) -> Result<(), InstallError> {
    let steps = Steps { tools, title: &package.title, log: tools.log_of(name), end };
    let job = Job { tools, package, python, into, steps };
    match tools.find("uv") {
        None => job.with_pip().await?,
        Some(uv) => match job.with_uv(&uv).await {
            Ok(()) => {}
            Err(InstallError::Failed { printed, .. }) => {
                let because = printed.lines().last().unwrap_or("it printed nothing").trim().to_owned();
                tools.say(&Notice::FallingBack { because });
                let _ = std::fs::remove_dir_all(into);
                job.with_pip().await?;
            }
            Err(error) => return Err(error),
        },
    }
    let proof =
        Launch::new(job.interpreter(), &job.steps.log).arg("-I").arg("-c").arg(package.proof.as_ref());
    job.steps.run(PROVE, proof).await
}

struct Job<'a> {
    tools: &'a Tools,
    package: &'a Package,
    python: &'a Python,
    into: &'a Path,
    steps: Steps<'a>,
}

impl Job<'_> {
    async fn with_uv(&self, uv: &Path) -> Result<(), InstallError> {
        self.announce("uv");
        let make = self.launch(uv).arg("venv").arg("--python").arg(&self.python.executable).arg(self.into);
        self.steps.run(MAKE, make).await?;
        let lock = self.write_lock()?;
        let fetch = self
            .launch(uv)
            .args(["pip", "install", "--require-hashes", "--only-binary", ":all:", "--compile-bytecode"])
            .arg("--python")
            .arg(self.interpreter())
            .arg("-r")
            .arg(lock);
        self.steps.run(FETCH, fetch).await
    }

    async fn with_pip(&self) -> Result<(), InstallError> {
        self.announce("pip");
        let make = self.launch(&self.python.executable).args(["-I", "-m", "venv"]).arg(self.into);
        self.steps.run(MAKE, make).await?;
        let lock = self.write_lock()?;
        let fetch = self
            .launch(&self.interpreter())
            .args([
                "-m",
                "pip",
                "install",
                "--require-hashes",
                "--only-binary",
                ":all:",
                "--progress-bar",
                "off",
            ])
            .arg("-r")
            .arg(lock);
        self.steps.run(FETCH, fetch).await
    }

    fn interpreter(&self) -> PathBuf {
        self.into.join("bin").join("python")
    }

    fn announce(&self, with: &'static str) {
        self.tools.say(&Notice::Installing {
            title: self.package.title.to_string(),
            why: self.package.why.to_string(),
            megabytes: self.package.megabytes,
            into: self.tools.dir.clone(),
            with,
        });
    }

    /// The lock stays in the environment, for whoever wants to know what is in it.
    fn write_lock(&self) -> Result<PathBuf, InstallError> {
        let path = self.into.join("requirements.txt");
        let written = std::fs::write(&path, self.package.lock.as_bytes());
        written.map_err(|source| InstallError::Write { path: path.clone(), source })?;
        Ok(path)
    }

    fn launch(&self, program: &Path) -> Launch {
        let launch = Launch::new(program, &self.steps.log)
            .env("PIP_NO_INPUT", "1")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            // An installation for the user alone, which some systems set, is refused inside an environment.
            .env("PIP_USER", "0")
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .env("UV_PYTHON_DOWNLOADS", "never")
            .env("UV_NO_PROGRESS", "1")
            .env("NO_COLOR", "1")
            .without_env("PYTHONPATH")
            .without_env("PYTHONHOME")
            .without_env("VIRTUAL_ENV");
        self.tools.env.iter().fold(launch, |launch, (key, value)| launch.env(key, value))
    }
}

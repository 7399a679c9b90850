//! Node.js from where it can be had, and real installations of a small npm project.

use std::path::{Path, PathBuf};
use std::process::Command;

use local_stack::install::{self, InstallError, Node, NpmProject, Tools};
use testkit::{Scratch, workspace};

use crate::script::script;

fn project(dir: &Path) -> NpmProject<'_> {
    NpmProject { name: "small", title: "a small project", why: "it is small", megabytes: 1, dir }
}

fn examples() -> PathBuf {
    workspace().join("examples/javascript")
}

/// Where nothing can be fetched from, and that is found out at once.
fn without_network(tools: Tools, cache: &Scratch) -> Tools {
    tools
        .with_env("npm_config_registry", "http://127.0.0.1:9/")
        .with_env("npm_config_fetch_retries", "0")
        .with_env("npm_config_cache", cache.path())
}

/// Directories of installations, finished or not.
fn installations(tools: &Tools) -> Vec<String> {
    let entries = std::fs::read_dir(tools.dir()).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.path().is_dir() && entry.file_name() != "logs");
    dirs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The checkout's own tools with `dir` before everything else on the search path.
fn tools_behind(dir: &Scratch) -> Tools {
    let inherited = std::env::var_os("PATH").unwrap();
    let path = std::iter::once(dir.path().to_owned()).chain(std::env::split_paths(&inherited));
    testkit::tools().with_search_path(std::env::join_paths(path).unwrap())
}

#[tokio::test]
async fn a_new_enough_node_on_the_path_is_used() {
    let bin = Scratch::new();
    script(&bin, "node", "echo v20.0.0");
    script(&bin, "npm", "exit 1");
    assert_eq!(install::node(&tools_behind(&bin)).await.unwrap().program, bin.join("node"));
}

#[tokio::test]
async fn an_old_node_is_passed_over_for_the_pinned_one_whose_npm_works() {
    let bin = Scratch::new();
    script(&bin, "node", "echo v18.20.4");
    script(&bin, "npm", "exit 1");
    let node = install::node(&tools_behind(&bin)).await.unwrap();
    assert!(node.program.starts_with(testkit::tools().dir()), "{}", node.program.display());
    let version = Command::new(&node.program).arg("--version").output().unwrap();
    assert_eq!(version.stdout, b"v24.19.0\n");
    let dir = Scratch::new();
    packages_of_the_examples(&node, &dir).await;
}

#[tokio::test]
async fn an_npm_project_is_installed_once_and_the_second_call_uses_no_network() {
    let (dir, cache) = (Scratch::new(), Scratch::new());
    let node = testkit::node().await;
    let home = packages_of_the_examples(&node, &dir).await;
    let tools = without_network(Tools::new(dir.path()), &cache);
    assert_eq!(install::npm_project(&tools, &node, &project(&examples())).await.unwrap(), home);
    assert_eq!(installations(&tools).len(), 1);
}

#[tokio::test]
async fn an_npm_project_that_cannot_be_fetched_leaves_nothing() {
    let (dir, cache) = (Scratch::new(), Scratch::new());
    let tools = without_network(Tools::new(dir.path()), &cache);
    let node = testkit::node().await;
    let error = install::npm_project(&tools, &node, &project(&examples())).await.unwrap_err();
    assert!(matches!(error, InstallError::Failed { .. }), "{error}");
    assert_eq!(installations(&tools), Vec::<String>::new());
}

#[tokio::test]
async fn a_package_that_is_not_the_locked_one_is_refused() {
    let (dir, changed) = (Scratch::new(), Scratch::new());
    for name in ["package.json", ".npmrc"] {
        std::fs::copy(examples().join(name), changed.join(name)).unwrap();
    }
    let lock = std::fs::read_to_string(examples().join("package-lock.json")).unwrap();
    let (before, hash) = lock.split_once("sha512-").unwrap();
    let flipped = if hash.starts_with('A') { "B" } else { "A" };
    changed.write("package-lock.json", format!("{before}sha512-{flipped}{}", &hash[1..]));
    let tools = Tools::new(dir.path());
    let error = install::npm_project(&tools, &testkit::node().await, &project(changed.path())).await;
    let error = error.unwrap_err();
    assert!(error.help().contains("not the one that was locked"), "{}: {}", error, error.help());
    assert_eq!(installations(&tools), Vec::<String>::new());
}

#[test]
fn no_npm_lock_names_a_place_and_every_package_has_a_hash() {
    for folder in ["examples/javascript", "testkit/npm/asyncapi"] {
        let lock = std::fs::read_to_string(workspace().join(folder).join("package-lock.json")).unwrap();
        assert!(!lock.contains("\"resolved\""), "{folder}");
        let lock: serde_json::Value = serde_json::from_str(&lock).unwrap();
        for (name, package) in
            lock["packages"].as_object().unwrap().iter().filter(|(name, _)| !name.is_empty())
        {
            assert!(package["integrity"].as_str().unwrap().starts_with("sha512-"), "{folder}: {name}");
        }
    }
}

/// Installs the examples' packages into `dir` and tries them out.
async fn packages_of_the_examples(node: &Node, dir: &Scratch) -> PathBuf {
    let home = install::npm_project(&Tools::new(dir.path()), node, &project(&examples())).await.unwrap();
    let code = "import('@nats-io/jetstream').then(({ jetstream }) => console.log(typeof jetstream))";
    let output = Command::new(&node.program).args(["-e", code]).current_dir(&home).output().unwrap();
    assert_eq!(output.stdout, b"function\n", "{}", String::from_utf8_lossy(&output.stderr));
    home
}

//! Real installations of a small real package, and tools that play broken ones.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local_stack::install::{self, BROKER, InstallError, Package, Tools};
use testkit::{Scratch, processes, wait_until};
use tokio_util::sync::CancellationToken;

use crate::script::script;

const TOOLS_DIR: &str = "CEREBROS_TEST_TOOLS_DIR";
const SOON: Duration = Duration::from_secs(60);
const SMALL: Package = Package {
    name: std::borrow::Cow::Borrowed("small"),
    title: std::borrow::Cow::Borrowed("six 1.17.0"),
    why: std::borrow::Cow::Borrowed("it is small"),
    megabytes: 1,
    lock: std::borrow::Cow::Borrowed(
        "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274",
    ),
    proof: std::borrow::Cow::Borrowed("import six"),
};

/// Collects what is said.
fn listening(tools: Tools) -> (Tools, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    (tools.with_listener(move |notice| notes.lock().unwrap().push(notice.to_string())), heard)
}

/// Where nothing can be fetched from, and that is found out at once.
fn without_network(tools: Tools) -> Tools {
    tools
        .with_env("PIP_INDEX_URL", "http://127.0.0.1:9/")
        .with_env("PIP_RETRIES", "0")
        .with_env("PIP_NO_CACHE_DIR", "1")
        .with_env("PIP_FIND_LINKS", "")
        .with_env("UV_INDEX_URL", "http://127.0.0.1:9/")
        .with_env("UV_NO_CACHE", "1")
        .with_env("UV_HTTP_RETRIES", "0")
}

/// Directories under `tools` other than that of the logs: installations, finished or not.
fn installations(tools: &Tools) -> Vec<String> {
    let entries = std::fs::read_dir(tools.dir()).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.path().is_dir() && entry.file_name() != "logs");
    dirs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A search path with `dir` first and Python still on it.
fn search_path(dir: &Scratch) -> std::ffi::OsString {
    let inherited = std::env::var_os("PATH").unwrap();
    std::env::join_paths(std::iter::once(dir.path().to_owned()).chain(std::env::split_paths(&inherited)))
        .unwrap()
}

#[tokio::test]
async fn a_tool_is_fetched_once_and_the_second_call_uses_no_network() {
    let dir = Scratch::new();
    let (tools, heard) = listening(Tools::new(dir.join("my data")));
    let python = install::environment(&tools, &SMALL).await.unwrap();
    assert!(python.starts_with(dir.path()), "{}", python.display());
    let proof = Command::new(&python).args(["-c", "import six; print(six.__version__)"]).output().unwrap();
    assert_eq!(proof.stdout, b"1.17.0\n");
    let said = heard.lock().unwrap().clone();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("installing six 1.17.0 (it is small; about 1 MB, once, with "), "{said:?}");
    assert!(said[1].starts_with("installed six 1.17.0 in "), "{said:?}");

    let again = install::environment(&without_network(tools.clone()), &SMALL).await.unwrap();
    assert_eq!(again, python);
    assert_eq!(heard.lock().unwrap().len(), 2, "nothing is said when nothing is done");
}

#[tokio::test]
async fn a_wrong_hash_installs_nothing_and_is_named() {
    let dir = Scratch::new();
    let tools = Tools::new(dir.path());
    let lock = SMALL.lock.replace("4721f391", "00000000");
    let error = install::environment(&tools, &Package { lock: lock.into(), ..SMALL }).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot install six 1.17.0: fetching packages failed");
    assert!(error.because().unwrap().to_lowercase().contains("hash"), "{error:?}");
    assert!(error.help().contains("not the one that was locked"), "{}", error.help());
    assert_eq!(installations(&tools), Vec::<String>::new());
}

#[tokio::test]
async fn a_failed_download_leaves_nothing_and_the_next_try_succeeds() {
    let dir = Scratch::new();
    let tools = Tools::new(dir.path());
    let error = install::environment(&without_network(tools.clone()), &SMALL).await.unwrap_err();
    assert!(matches!(error, InstallError::Failed { .. }), "{error}");
    assert!(error.help().contains(dir.path().to_str().unwrap()), "the log is named: {}", error.help());
    assert_eq!(installations(&tools), Vec::<String>::new());
    install::environment(&tools, &SMALL).await.unwrap();
    assert_eq!(installations(&tools).len(), 1);
}

#[tokio::test]
async fn what_a_killed_installation_left_is_removed_by_the_next_one() {
    let dir = Scratch::new();
    let tools = Tools::new(dir.path());
    let python = install::environment(&tools, &SMALL).await.unwrap();
    let home = python.parent().unwrap().parent().unwrap();
    let name = home.file_name().unwrap().to_str().unwrap();
    // As if killed before the marker was written, while another one was killed before its rename.
    std::fs::rename(home, tools.dir().join(format!(".{name}.partial-1"))).unwrap();
    assert_eq!(install::environment(&tools, &SMALL).await.unwrap(), python);
    assert_eq!(installations(&tools), [name]);
}

#[tokio::test]
async fn two_processes_at_once_install_once() {
    if let Some(dir) = std::env::var_os(TOOLS_DIR) {
        let tools = Tools::new(dir).with_listener(|notice| println!("\nnotice: {notice}"));
        install::environment(&tools, &SMALL).await.unwrap();
        return;
    }
    let dir = Scratch::new();
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "install::two_processes_at_once_install_once", "--nocapture"]);
        command.env(TOOLS_DIR, dir.path()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let outputs = [start(), start()].map(|child| child.wait_with_output().unwrap());
    assert!(outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    let said: String = outputs.iter().map(|output| String::from_utf8_lossy(&output.stdout)).collect();
    assert_eq!(said.matches("notice: installing").count(), 1, "{said}");
    assert_eq!(installations(&Tools::new(dir.path())).len(), 1);
}

#[tokio::test]
async fn a_cancelled_installation_stops_its_processes_and_leaves_nothing() {
    let bin = Scratch::new();
    script(&bin, "uv", "sleep 1000 & echo $! > \"${0%/*}/pid\"; wait");
    let dir = Scratch::new();
    let cancel = CancellationToken::new();
    let tools = Tools::new(dir.path()).with_search_path(search_path(&bin)).with_cancel(cancel.clone());
    let running = tokio::spawn({
        let tools = tools.clone();
        async move { install::environment(&tools, &SMALL).await }
    });
    let read_pid = async || std::fs::read_to_string(bin.join("pid")).ok()?.trim().parse::<u32>().ok();
    let pid = wait_until("the installer runs", SOON, read_pid).await;
    cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, InstallError::Cancelled { .. }), "{error}");
    processes::wait_until_gone("the installer", &[pid], SOON).await;
    assert_eq!(installations(&tools), Vec::<String>::new());
}

#[tokio::test]
async fn an_installation_that_takes_too_long_is_stopped_and_says_at_which_step() {
    let bin = Scratch::new();
    script(&bin, "uv", "echo connecting; sleep 1000");
    let dir = Scratch::new();
    let tools = Tools::new(dir.path()).with_search_path(search_path(&bin));
    let tools = tools.with_deadline(Duration::from_secs(5));
    let error = install::environment(&tools, &SMALL).await.unwrap_err();
    assert!(matches!(error, InstallError::TooSlow { .. }), "{error}");
    assert!(error.to_string().contains("making a virtual environment"), "{error}");
    assert_eq!(error.because().unwrap(), "connecting");
    assert_eq!(installations(&tools), Vec::<String>::new());
}

#[tokio::test]
async fn when_uv_fails_pip_is_tried_and_that_is_said() {
    let bin = Scratch::new();
    script(&bin, "uv", "echo 'no index for me' >&2; exit 2");
    let dir = Scratch::new();
    let (tools, heard) = listening(Tools::new(dir.path()).with_search_path(search_path(&bin)));
    install::environment(&tools, &SMALL).await.unwrap();
    let said = heard.lock().unwrap().join("\n");
    assert!(said.contains("uv failed, trying pip instead (no index for me)"), "{said}");
}

#[tokio::test]
async fn a_python_that_is_too_old_is_named_with_the_remedy() {
    let bin = Scratch::new();
    let python = script(&bin, "python", "printf '3 9\\n/usr/bin/python3.9\\n/usr\\n'");
    let error = install::environment(&Tools::new(bin.path()).with_python(python), &SMALL).await.unwrap_err();
    assert_eq!(error.to_string(), "/usr/bin/python3.9 is Python 3.9, needed is 3.10 or newer");
    assert!(error.help().contains("CEREBROS_PYTHON"), "{}", error.help());
}

#[tokio::test]
async fn without_python_the_error_says_what_was_tried() {
    let empty = Scratch::new();
    let tools = Tools::new(empty.path()).with_search_path(empty.path());
    let tools = match std::env::var_os("CEREBROS_PYTHON") {
        Some(_) => tools.with_python("/absent/python3"),
        None => tools,
    };
    let error = install::environment(&tools, &SMALL).await.unwrap_err();
    assert!(error.to_string().contains("python3"), "{error}");
}

#[tokio::test]
async fn a_new_enough_broker_on_the_path_is_used_and_nothing_is_fetched() {
    let bin = Scratch::new();
    let server = script(&bin, "nats-server", "echo 'nats-server: v2.12.0'");
    let tools = Tools::new(bin.path()).with_search_path(search_path(&bin));
    assert_eq!(install::nats_server(&tools).await.unwrap(), server);
    assert_eq!(installations(&tools), Vec::<String>::new());
}

#[tokio::test]
async fn an_old_broker_on_the_path_is_refused_aloud_and_the_pinned_one_installed() {
    let bin = Scratch::new();
    script(&bin, "nats-server", "echo 'nats-server: v2.9.10'");
    let (tools, heard) = listening(Tools::new(bin.path()).with_search_path(search_path(&bin)));
    let server = install::nats_server(&tools).await.unwrap();
    let version = Command::new(server).arg("--version").output().unwrap();
    assert!(BROKER.title.ends_with("2.15.1"));
    assert_eq!(version.stdout, b"nats-server: v2.15.1\n");
    assert!(heard.lock().unwrap()[0].contains("its version is 2.9.10, needed is 2.12"), "{heard:?}");
}

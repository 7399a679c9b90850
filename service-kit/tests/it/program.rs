//! Programs as their callers see them: standard streams, signals, exit codes.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_kit::endpoints::Endpoints;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// No specimen takes this long unless it hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// A program in a directory and an environment of its own.
struct Specimen {
    directory: TempDir,
    command: Command,
}

impl Specimen {
    fn new(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(executable());
        command.args(arguments).env_clear().current_dir(directory.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { directory, command }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    fn stdout_to(mut self, target: impl Into<Stdio>) -> Self {
        self.command.stdout(target);
        self
    }

    fn stderr_to(mut self, target: impl Into<Stdio>) -> Self {
        self.command.stderr(target);
        self
    }

    fn file(self, text: &str) -> Self {
        std::fs::write(self.directory.path().join("cerebros.toml"), text).unwrap();
        self
    }

    /// Standard output goes where the test says; `Command::output` would replace it by a pipe.
    async fn output(mut self) -> Output {
        let ended = self.command.spawn().unwrap().wait_with_output();
        timeout(DEADLINE, ended).await.expect("the specimen hangs").unwrap()
    }

    async fn code_and_stderr(self) -> (Option<i32>, String) {
        let output = self.output().await;
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    async fn stdout(self) -> String {
        let output = self.output().await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Cargo builds examples before it runs tests, except when one test target alone is named.
fn executable() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples/specimen");
    assert!(path.exists(), "{} is missing: run `cargo build -p service-kit --examples`", path.display());
    path
}

/// A pipe whose reader has left.
fn nobody() -> std::io::PipeWriter {
    let (_, writer) = std::io::pipe().unwrap();
    writer
}

/// A specimen that runs until it is told to stop.
struct Living {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _directory: TempDir,
}

impl Living {
    async fn start(arguments: &[&str]) -> Self {
        let Specimen { directory, mut command } = Specimen::new(arguments);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut living = Self { child, lines, _directory: directory };
        living.says().await;
        living
    }

    async fn says(&mut self) -> String {
        timeout(DEADLINE, self.lines.next_line()).await.expect("the specimen is silent").unwrap().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().expect("not reaped yet")).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    async fn code(&mut self) -> Option<i32> {
        timeout(DEADLINE, self.child.wait()).await.expect("the specimen hangs").unwrap().code()
    }
}

#[tokio::test]
async fn a_signal_ends_a_client_with_its_number() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut client = Living::start(&["wait"]).await;
        client.signal(signal);
        assert_eq!(client.code().await, Some(code));
    }
}

#[tokio::test]
async fn a_service_that_drains_ends_well() {
    let mut service = Living::start(&["serve"]).await;
    service.signal(Signal::SIGTERM);
    assert_eq!(service.code().await, Some(0));
}

#[tokio::test]
async fn the_second_signal_is_no_success() {
    let mut service = Living::start(&["cling"]).await;
    service.signal(Signal::SIGTERM);
    assert_eq!(service.says().await, "draining");
    service.signal(Signal::SIGINT);
    assert_eq!(service.code().await, Some(143), "the first signal decides");
}

#[tokio::test]
async fn help_names_the_variable_of_a_flag() {
    let help = Specimen::new(&["--help"]).env("NATS_PASSWORD", "hunter2").stdout().await;
    for name in
        ["NATS_URL", "NATS_CREDS", "NATS_PASSWORD", "CEREBROS_DATA_DIR", "RUST_LOG", "CEREBROS_LOG_FORMAT"]
    {
        assert!(help.contains(name), "{name} is missing in\n{help}");
    }
    assert!(!help.contains("hunter2"));
    assert!(Specimen::new(&["--version"]).stdout().await.starts_with("specimen "));
}

#[tokio::test]
async fn help_is_there_when_the_file_is_broken_or_the_command_is_missing() {
    assert!(Specimen::new(&["--help"]).file("what = 1").stdout().await.starts_with("Lives in one way"));
    let (code, text) = Specimen::new(&[]).code_and_stderr().await;
    assert_eq!(code, Some(2));
    assert!(text.starts_with("Lives in one way"), "{text}");
    let (code, json) = Specimen::new(&["-o", "json"]).code_and_stderr().await;
    assert_eq!(code, Some(2));
    assert!(json.starts_with("{\"error\":{\"code\":\"usage\""), "{json}");
}

#[tokio::test]
async fn a_wrong_flag_is_a_usage_error_in_both_forms() {
    let (code, text) = Specimen::new(&["list", "--rowz", "1"]).code_and_stderr().await;
    assert_eq!(code, Some(2));
    assert!(text.starts_with("error[usage]: unexpected argument '--rowz' found\n"), "{text}");
    let (code, json) = Specimen::new(&["list", "-o", "json", "--rowz", "1"]).code_and_stderr().await;
    assert_eq!(code, Some(2));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["error"]["code"], "usage");
}

#[tokio::test]
async fn an_unknown_key_is_an_error_that_suggests_the_nearest() {
    let (code, text) = Specimen::new(&["where"]).file("data_dri = \"x\"").code_and_stderr().await;
    assert_eq!(code, Some(2));
    assert!(
        text.contains("error[config-key-unknown]") && text.contains("did you mean `data_dir`?"),
        "{text}"
    );
}

#[tokio::test]
async fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    const FILE: &str = "data_dir = \"file\"";
    let set = "CEREBROS_DATA_DIR";
    assert_eq!(Specimen::new(&["where"]).stdout().await, "./.cerebros\n");
    assert_eq!(Specimen::new(&["where"]).file(FILE).stdout().await, "file\n");
    assert_eq!(Specimen::new(&["where"]).file(FILE).env(set, "env").stdout().await, "env\n");
    assert_eq!(Specimen::new(&["where"]).file(FILE).env(set, "").stdout().await, "file\n", "empty is unset");
    for flags in [["--data-dir", "flag", "where"], ["where", "--data-dir", "flag"]] {
        assert_eq!(Specimen::new(&flags).file(FILE).env(set, "env").stdout().await, "flag\n");
    }
}

#[tokio::test]
async fn a_file_that_was_named_is_read_or_is_an_error() {
    let specimen =
        Specimen::new(&["where"]).env("CEREBROS_CONFIG", "other.toml").file("data_dir = \"not this\"");
    std::fs::write(specimen.directory.path().join("other.toml"), "data_dir = \"other\"").unwrap();
    assert_eq!(specimen.stdout().await, "other\n");
    let (code, text) = Specimen::new(&["where"]).env("CEREBROS_CONFIG", "other.toml").code_and_stderr().await;
    assert_eq!(code, Some(2));
    assert!(text.contains("other.toml"), "{text}");
}

#[tokio::test]
async fn an_alias_in_the_environment_stands_above_the_file() {
    const FILE: &str = "enabled = false\nfeatures = \"ml_nas\"";
    assert!(Specimen::new(&["gates"]).stdout().await.contains("CEREBROS_ENABLED=true"));
    assert!(Specimen::new(&["gates"]).file(FILE).stdout().await.contains("CEREBROS_ENABLED=true"));
    let alias = "TL_ENABLE_CEREBROS_BRIDGE";
    assert_eq!(Specimen::new(&["gates"]).file(FILE).env(alias, "1").stdout().await, "open\n");
    let both = Specimen::new(&["gates"]).file(FILE).env(alias, "1").env("CEREBROS_ENABLED", "0");
    assert!(both.stdout().await.starts_with("the gate CEREBROS_ENABLED is shut"));
}

#[tokio::test]
async fn the_broker_is_the_one_that_was_named() {
    assert_eq!(Specimen::new(&["broker"]).stdout().await, "nats://127.0.0.1:4222\n");
    let named = Specimen::new(&["broker"]).env("NATS_URL", "nats://me:pw@broker:1");
    assert_eq!(named.stdout().await, "nats://broker:1\n");
}

#[tokio::test]
async fn a_context_of_the_nats_tool_names_a_broker() {
    let prod = || Specimen::new(&["broker"]).env("NATS_CONTEXT", "prod").env("XDG_CONFIG_HOME", "config");
    let (code, text) = prod().code_and_stderr().await;
    assert_eq!(code, Some(3), "{text}");
    let specimen = prod();
    let contexts = specimen.directory.path().join("config/nats/context");
    std::fs::create_dir_all(&contexts).unwrap();
    std::fs::write(contexts.join("prod.json"), r#"{"url": "tls://prod:4222", "creds": "~/prod.creds"}"#)
        .unwrap();
    assert_eq!(specimen.stdout().await, "tls://prod:4222\n");
}

#[tokio::test]
async fn the_running_local_stack_is_found_and_said() {
    let specimen = Specimen::new(&["broker"]);
    let nats = "nats://127.0.0.1:4333".to_owned();
    let stack =
        Endpoints { nats, mlflow: None, dashboard: None, pid: std::process::id(), version: "0".to_owned() };
    stack.write(&specimen.directory.path().join(".cerebros")).unwrap();
    let output = specimen.output().await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "nats://127.0.0.1:4333\n");
    assert!(
        String::from_utf8_lossy(&output.stderr).starts_with("using the local stack at nats://127.0.0.1:4333")
    );
}

#[tokio::test]
async fn lists_are_plain_in_a_pipe_and_parse_as_json() {
    assert_eq!(Specimen::new(&["list", "2"]).stdout().await, "NUMBER\n0\n1\n");
    let json = Specimen::new(&["list", "2", "-o", "json"]).stdout().await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()[1]["number"], 1);
    assert_eq!(
        Specimen::new(&["list", "2", "-o", "ndjson"]).stdout().await,
        "{\"number\":0}\n{\"number\":1}\n"
    );
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_program_quietly() {
    for arguments in [&["list", "100000"][..], &["list", "100000", "-o", "ndjson"], &["--help"]] {
        let (code, text) = Specimen::new(arguments).stdout_to(nobody()).code_and_stderr().await;
        assert_eq!((code, text.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn nobody_reading_the_errors_changes_nothing() {
    let output =
        Specimen::new(&["list", "--rowz"]).env("RUST_LOG", "trace").stderr_to(nobody()).output().await;
    assert_eq!(output.status.code(), Some(2));
    let output = Specimen::new(&["list"]).env("RUST_LOG", "trace").stderr_to(nobody()).output().await;
    assert_eq!(output.status.code(), Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_not_a_reader_that_left() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, text) = Specimen::new(&["list"]).stdout_to(full).code_and_stderr().await;
    assert_eq!(code, Some(7));
    assert!(text.starts_with("error[output-failed]"), "{text}");
}

#[tokio::test]
async fn a_panic_is_an_internal_error() {
    let (code, text) = Specimen::new(&["panic"]).code_and_stderr().await;
    assert_eq!(code, Some(1));
    assert!(text.contains("error[internal]"), "{text}");
}

#[tokio::test]
async fn json_logs_parse_to_the_last_line() {
    let mut specimen = Specimen::new(&["serve", "--log-format", "json"]);
    let mut child = specimen.command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    timeout(DEADLINE, lines.next_line()).await.expect("the specimen is silent").unwrap();
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    let output = timeout(DEADLINE, child.wait_with_output()).await.expect("the specimen hangs").unwrap();
    let logs = String::from_utf8(output.stderr).unwrap();
    let stopping = logs.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert!(stopping.into_iter().any(|line| line["waits_for"] == "nothing in particular"), "{logs}");
}

//! Programs end when they should, with everything they started.

use std::time::Duration;

use local_stack::process::{SpawnError, descendants, is_alive};
use local_stack::{Exit, Launch, Supervised};
use testkit::{Scratch, processes, wait_until};

use crate::script::script;

const SOON: Duration = Duration::from_secs(10);

async fn run(dir: &Scratch, body: &str) -> Supervised {
    let program = script(dir, "program", body);
    Supervised::spawn(Launch::new(program, dir.join("program.log"))).await.unwrap()
}

/// Waits until the program has said `word`, so that what comes before it in the script has happened.
async fn said(process: &Supervised, word: &str) {
    let what = format!("the program says {word}");
    wait_until(&what, SOON, async || process.last_lines(50).contains(word).then_some(())).await;
}

#[tokio::test]
async fn the_exit_status_and_both_outputs_are_kept() {
    let dir = Scratch::new();
    let process = run(&dir, "echo out; echo err >&2; exit 3").await;
    assert_eq!(process.exited().await, Exit::Status(3));
    assert_eq!(process.last_lines(9), "out\nerr");
}

#[tokio::test]
async fn arguments_environment_and_directory_arrive_untouched() {
    let dir = Scratch::new();
    let program = script(&dir, "program", r#"printf '%s|' "$@"; echo "$WORD|$HOME|$(pwd)""#);
    let launch = Launch::new(program, dir.join("program.log"))
        .args(["a b", "", "$x 'y'"])
        .env("WORD", "two words")
        .without_env("HOME")
        .cwd("/");
    let process = Supervised::spawn(launch).await.unwrap();
    assert_eq!(process.exited().await, Exit::Status(0));
    assert_eq!(process.last_lines(1), "a b||$x 'y'|two words||/");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_an_error_that_names_it() {
    let dir = Scratch::new();
    let error = Supervised::spawn(Launch::new(dir.join("absent"), dir.join("log"))).await.unwrap_err();
    assert!(matches!(error, SpawnError::NotExecutable { .. }), "{error}");
    assert!(error.to_string().contains("absent"), "{error}");
}

#[tokio::test]
async fn stopping_reaches_grandchildren_too() {
    let dir = Scratch::new();
    let process = run(&dir, "sleep 1000 & sleep 1000 & echo ready; wait").await;
    said(&process, "ready").await;
    // The guard starts its watcher after the program, which may have spoken before.
    let tree = wait_until("a program, two children of it and the guard's watcher", SOON, async || {
        let tree = descendants(process.group());
        (tree.len() >= 4).then_some(tree)
    });
    let tree = tree.await;
    assert_eq!(process.stop(SOON).await, Exit::Status(128 + 15));
    processes::wait_until_gone("the tree", &tree, SOON).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let dir = Scratch::new();
    let process = run(&dir, "sleep 1000 & echo $!; exit 0").await;
    assert_eq!(process.exited().await, Exit::Status(0));
    let left: u32 = process.last_lines(1).parse().unwrap();
    processes::wait_until_gone("what it left", &[left], SOON).await;
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_after_the_grace_period() {
    let dir = Scratch::new();
    let process = run(&dir, "trap '' TERM; echo ready; while :; do sleep 1; done").await;
    said(&process, "ready").await;
    assert_eq!(process.stop(Duration::from_millis(200)).await, Exit::Killed);
    assert!(!is_alive(process.pid()));
}

#[tokio::test]
async fn a_program_may_end_in_its_own_way_when_it_is_stopped() {
    let dir = Scratch::new();
    let process = run(&dir, "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done").await;
    said(&process, "ready").await;
    assert_eq!(process.stop(SOON).await, Exit::Status(7));
    assert_eq!(process.last_lines(1), "bye");
}

#[tokio::test]
async fn a_paused_program_can_be_stopped() {
    let dir = Scratch::new();
    let process = run(&dir, "echo ready; while :; do sleep 0.01; done").await;
    said(&process, "ready").await;
    process.pause();
    assert_eq!(process.stop(SOON).await, Exit::Status(128 + 15));
}

#[tokio::test]
async fn dropping_leaves_nothing_alive() {
    let dir = Scratch::new();
    let process = run(&dir, "sleep 1000 & echo ready; wait").await;
    said(&process, "ready").await;
    let mut tree = descendants(process.group());
    tree.push(process.group());
    drop(process);
    assert!(!tree.iter().any(|pid| is_alive(*pid)), "gone when the drop returns, not some time later");
}

#[test]
fn a_program_outlives_the_runtime_it_was_started_from() {
    let dir = Scratch::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let process = runtime().block_on(run(&dir, "while :; do echo tick; sleep 0.01; done"));
    let before = std::fs::metadata(process.log()).map_or(0, |file| file.len());
    runtime().block_on(async {
        let grew = async || (std::fs::metadata(process.log()).ok()?.len() > before).then_some(());
        wait_until("the log still grows", SOON, grew).await;
        assert_eq!(process.stop(SOON).await, Exit::Status(128 + 15));
    });
}

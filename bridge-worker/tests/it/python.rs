//! The child runtime's own tests, run by its own test runner in the interpreter the worker uses.

use testkit::{trainer_python, workspace};
use tokio::process::Command;

#[tokio::test]
async fn the_python_package_s_own_tests_pass() {
    let python = trainer_python().await;
    let tests = Command::new(&python)
        .args(["-m", "unittest"])
        .current_dir(workspace().join("python"))
        .env("CEREBROS_TEST_PYTHON", &python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&tests.stderr);
    assert!(tests.status.success(), "{told}");
    let ran =
        told.lines().find_map(|line| line.strip_prefix("Ran ")).expect("unittest says how many tests ran");
    let count: usize = ran.split(' ').next().unwrap().parse().unwrap();
    assert!(count >= 100, "only {count} tests were found");
}

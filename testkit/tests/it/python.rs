//! The Python environments hold what they promise.

use std::path::Path;
use std::process::Command;

fn run(python: &Path, code: &str) -> String {
    let output = Command::new(python).args(["-I", "-c", code]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_trainers_environment_scores_a_bundled_data_set() {
    let code = "from sklearn.datasets import load_digits; print(load_digits().data.shape)";
    assert_eq!(run(&testkit::trainer_python().await, code), "(1797, 64)\n");
}

#[tokio::test]
async fn the_tests_environment_has_the_foreign_clients() {
    let code = "from importlib.metadata import version; import nats, fastavro, cloudevents\n\
                print(version('nats-py'), version('cloudevents'))";
    assert_eq!(run(&testkit::tests_python().await, code), "2.16.0 2.2.0\n");
}

#[tokio::test]
async fn tools_are_installed_inside_the_checkout_and_nowhere_else() {
    let python = testkit::tests_python().await;
    assert!(python.starts_with(testkit::workspace().join(".cerebros").join("tools")), "{}", python.display());
}

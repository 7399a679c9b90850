//! An MLflow per test process, which ends with it.
//!
//! To see it end with a killed process, this test program is started again and asked to hold it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{Mlflow, Scratch, experiment_name, mlflow_python, processes};

const HOLD: &str = "CEREBROS_TEST_HOLD";
const SOON: Duration = Duration::from_secs(10);

/// The first test to ask starts it; a later one finds it, although the runtime it was started from is gone.
#[test]
fn tests_with_runtimes_of_their_own_share_one_server() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime().block_on(async { Mlflow::shared().await.pid() });
    let second = runtime().block_on(async { Mlflow::shared().await });
    assert_eq!(first, second.pid());
    assert!(processes::alive(first));
    let address = second.url().strip_prefix("http://").unwrap().to_owned();
    assert!(std::net::TcpStream::connect(address).is_ok());
    if std::env::var_os(HOLD).is_some() {
        println!("\nholding {first}");
        std::thread::park();
    }
}

#[tokio::test]
async fn killing_a_test_process_ends_its_shared_server() {
    mlflow_python().await;
    // What the holder cannot remove any more goes with this.
    let dir = Scratch::new();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mlflow::tests_with_runtimes_of_their_own_share_one_server", "--nocapture"])
        .env(HOLD, "1")
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    let server: u32 = lines.find_map(|line| line.strip_prefix("holding ")?.parse().ok()).unwrap();
    let tree = processes::descendants(holder.id());
    assert!(tree.contains(&server), "{server} descends from the holder: {tree:?}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    processes::wait_until_gone("the server and all it started", &tree, SOON).await;
}

#[test]
fn experiment_names_never_meet() {
    assert_ne!(experiment_name("a"), experiment_name("a"));
    assert!(experiment_name("sink").starts_with("sink-"));
}

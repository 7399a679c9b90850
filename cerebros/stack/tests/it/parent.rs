//! What happens to the stack when its parent is killed with signal 9.
//!
//! The parent is this test program again, asked through its environment to start a broker and hold it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{Nats, Scratch, processes};

const HOLD: &str = "CEREBROS_TEST_HOLD";
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_broker_lives_as_long_as_it_is_held() {
    let nats = Nats::start().await;
    let pid = nats.pid();
    assert!(processes::alive(pid));
    if std::env::var_os(HOLD).is_some() {
        println!("\nholding {pid}");
        std::future::pending::<()>().await;
    }
    drop(nats);
    processes::wait_until_gone("the broker", &[pid], SOON).await;
}

#[tokio::test]
async fn killing_the_parent_with_signal_9_leaves_no_process() {
    // Installed here, so that the parent below starts at once.
    testkit::nats_server().await;
    // What the parent cannot remove any more goes with this.
    let dir = Scratch::new();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "parent::a_broker_lives_as_long_as_it_is_held", "--nocapture"])
        .env(HOLD, "1")
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
    let broker: u32 = lines.find_map(|line| line.strip_prefix("holding ")?.parse().ok()).unwrap();
    let mut tree = processes::descendants(parent.id());
    assert!(tree.contains(&broker), "{broker} descends from the parent: {tree:?}");
    tree.push(parent.id());
    parent.kill().unwrap();
    parent.wait().unwrap();
    processes::wait_until_gone("the whole tree", &tree, SOON).await;
}

//! A database behind MLflow that is in trouble: MLflow answers as if our write were wrong, and nobody is to blame.

use testkit::wait_until;
use tokio::process::Command;

use crate::commands::assert_clean;
use crate::events::{run, search};
use crate::own::Own;
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::server::Server;

/// Overwrites the first page of a table, or puts it back, while the server runs: it has the file to itself meanwhile, and
/// afterwards everybody reads anew.
const DAMAGE: &str = r#"
import os, sqlite3, sys
path, table, kept = sys.argv[1:]
database = sqlite3.connect(path, isolation_level=None, timeout=60)
size = database.execute("PRAGMA page_size").fetchone()[0]
page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
database.execute("BEGIN EXCLUSIVE")
file = open(path, "r+b", buffering=0)
file.seek((page - 1) * size)
before = file.read(size)
is_damaged = os.path.exists(kept)
file.seek((page - 1) * size)
file.write(open(kept, "rb").read() if is_damaged else b"\xff" * size)
if not is_damaged:
    open(kept, "wb").write(before)
for place in (24, 92):
    file.seek(place)
    count = int.from_bytes(file.read(4), "big") + 1
    file.seek(place)
    file.write(count.to_bytes(4, "big"))
database.execute("ROLLBACK")
"#;

/// Damages a table of a server, or mends it.
async fn damage_or_mend(mlflow: &Own, table: &str) {
    let database = mlflow.database();
    let kept = database.with_extension("page");
    let done = Command::new(testkit::mlflow_python().await)
        .args(["-c", DAMAGE])
        .arg(&database)
        .arg(table)
        .arg(kept)
        .output()
        .await
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn a_database_in_trouble_is_waited_for_and_costs_no_dead_letter() {
    let (pipeline, mlflow) = (Pipeline::start().await, Own::with_a_database().await);
    damage_or_mend(&mlflow, "params").await;
    for name in ["one", "two"] {
        pipeline.publish(&run(name), &search(&run(name), name, 2)).await;
    }
    let waiting = pipeline.unsettled().await;
    let (sink, pages) = pipeline.sink_with_pages(&mlflow.url, &[]);
    wait_until("the sink says what is wrong", CAUGHT_UP, async || {
        let said = pages.health().await?["components"].to_string();
        said.contains("disk image is malformed").then_some(())
    })
    .await;
    assert_eq!(pipeline.unsettled().await, waiting);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());

    damage_or_mend(&mlflow, "params").await;
    pipeline.caught_up().await;
    sink.stop().await;
    assert_clean(&pipeline, &mlflow.url).await;
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    for name in ["one", "two"] {
        let runs = Server::at(&mlflow.url).runs(name).await;
        assert!(runs.len() == 3 && runs.values().all(|run| run.status == "FINISHED"), "{runs:?}");
    }
}

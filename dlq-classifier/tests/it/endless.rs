//! Replays whose edits never end, and tasks that end whoever works on them.

use testkit::wait_until;

use crate::room::{PATIENCE, Room, Serving, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

impl Serving {
    /// What the system says of the process, in a field of its status.
    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn has_thread(&self, name: &str) -> bool {
        let path = format!("/proc/{}/task", self.child.id().unwrap());
        let threads = std::fs::read_dir(path).unwrap().filter_map(Result::ok);
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok())
            .any(|comm| comm.trim() == name)
    }
}

async fn rests(room: &Room, state: &str) -> String {
    wait_until(&format!("the task is {state}"), PATIENCE, async || {
        let tasks = room.json(&["tasks"]).await;
        (text(&tasks[0], "state") == state).then(|| text(&tasks[0], "id").to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_builds_without_end_ends_its_task_and_leaves_the_classifier_as_it_was() {
    let room = Room::new().await;
    let serving = room.serve();
    for _ in 0..3 {
        room.publish(REQUESTED, &[], b"{}").await;
    }
    let entries = room.entries(3).await;
    // How fast one grows depends on the machine; the second asks for all of it at once.
    for (edit, bound) in [
        ("[repeat(1)]", "the expression took"),
        ("\"x\" * 2000000000", "more than 128 MiB"),
        ("last(repeat(1))", "longer than 2 s"),
    ] {
        let refused = room.dlq(&["replay", text(&entries[0], "id"), "--edit", edit]).await;
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(5) && words.contains(bound), "{edit}: {words}");
    }
    let before = serving.status_kib("VmHWM");
    assert!(room.dlq(&["replay", "--all", "--edit", "[repeat(1)]", "--detach"]).await.status.success());
    wait_until("the task has failed", PATIENCE, async || {
        let tasks = room.json(&["tasks"]).await;
        let last = tasks.as_array().unwrap().last().unwrap();
        (text(last, "state") == "failed").then_some(())
    })
    .await;
    let grown = serving.status_kib("VmHWM") - before;
    assert!(grown < 64 * 1024, "it has grown by {grown} KiB");
    assert!(!serving.has_thread("jq"), "nothing goes on");
    // What fits is edited.
    let sound = room.json(&["replay", "--all", "--edit", ".dataset_id = \"digits\""]).await;
    assert!(sound.as_array().unwrap().iter().all(|row| text(row, "outcome") == "replayed"), "{sound:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_everybody_who_takes_it_up_is_given_up() {
    let room = Room::new().await;
    let serving = room.serve();
    room.publish(REQUESTED, &[], b"{}").await;
    room.entries(1).await;
    serving.stop().await;
    let edit = ["replay", "--all", "--edit", ".dataset_id = \"digits\"", "--detach"];
    assert!(room.dlq(&edit).await.status.success());
    for _ in 0..5 {
        let mut doomed = room.start(&["serve", "--http", "127.0.0.1:0"], "before-intent");
        let ended = tokio::time::timeout(PATIENCE, doomed.wait()).await.expect("it ends").unwrap();
        assert_eq!(ended.code(), None, "it was killed: {ended}");
    }
    let _serving = room.serve();
    let task = rests(&room, "failed").await;
    let shown = room.json(&["tasks", "show", &task]).await;
    let trouble = shown["trouble"].to_string();
    assert!(trouble.contains("5 times in a row"), "{shown:#}");
    room.entries(1).await;
}

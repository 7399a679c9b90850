//! The same on three brokers with three copies of everything.

use schemas::subject::{DLQ_STREAM, STREAM};

use serde_json::Value;
use testkit::wait_until;

use crate::room::{PATIENCE, Room, text};

const REQUESTED: &str = "cerebros.nas.run.requested";

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_one_entry_each_on_three_nodes_though_one_of_them_dies() {
    let room = Room::on_three_nodes().await;
    for stream in [STREAM, DLQ_STREAM, "KV_cerebros_dlq"] {
        let stream = wait_until("the stream has a leader", PATIENCE, async || {
            room.broker.jetstream.get_stream(stream).await.ok()
        });
        assert_eq!(stream.await.cached_info().config.num_replicas, 3);
    }
    let _serving = room.serve();
    room.publish_until_stored(REQUESTED, "first", b"{\"dataset_id\": 1}").await;
    let first = text(&room.listed(1).await[0], "id").to_owned();
    room.nats.kill(2).await;
    room.publish_until_stored(REQUESTED, "second", b"{").await;
    let entries = room.listed(2).await;
    assert_eq!(text(&entries[0], "id"), first);
    let raw = wait_until("the letter can be read", PATIENCE, async || {
        let shown = room.dlq(&["show", text(&entries[1], "id"), "--raw"]).await;
        shown.status.success().then_some(shown.stdout)
    });
    assert_eq!(raw.await, b"{");
}

impl<N> Room<N> {
    /// Waits until the queue lists so many entries; while leaders are elected it cannot be read.
    async fn listed(&self, count: usize) -> Vec<Value> {
        wait_until(&format!("the queue lists {count} entries"), PATIENCE, async || {
            let output = self.dlq(&["list", "-o", "json"]).await;
            let list: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
            assert!(list.len() <= count, "{list:#?}");
            (output.status.success() && list.len() == count).then_some(list)
        })
        .await
    }

    /// Publishes until the broker has it: there may be no leader of the stream now. The message id makes it one message.
    async fn publish_until_stored(&self, subject: &str, id: &str, payload: &[u8]) {
        wait_until("the message is stored", PATIENCE, async || {
            self.try_publish(subject, &[("Nats-Msg-Id", id)], payload).await.ok()
        })
        .await;
    }
}

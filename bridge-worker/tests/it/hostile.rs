//! A message that kills the NATS client: the worker says so and ends, so that whoever keeps it starts it again.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::house::{GONE, House};

#[tokio::test]
async fn a_header_that_kills_the_client_ends_the_worker_with_an_error_and_leaves_no_child() {
    let house = House::open().await;
    let mut worker = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    testkit::wait_until("the worker waits for requests", crate::house::PATIENCE, async || {
        let stream = house.broker.jetstream.get_stream("CEREBROS").await.unwrap();
        let info = stream.consumer_info(service_kit::topology::WORKER_CONSUMER).await.unwrap();
        (info.num_waiting > 0).then_some(())
    })
    .await;
    let family = testkit::processes::descendants(worker.pid());
    let mut socket = TcpStream::connect(house.nats.url().strip_prefix("nats://").unwrap()).await.unwrap();
    // Client libraries refuse to write such a header; the broker passes it on.
    let headers = "NATS/1.0\r\nX-Bad: a\rb\r\n\r\n";
    let payload = r#"{"dataset_id": "digits"}"#;
    let message = format!(
        "CONNECT {{\"verbose\":false,\"headers\":true}}\r\nHPUB cerebros.nas.run.requested {} {}\r\n{headers}{payload}\r\nPING\r\n",
        headers.len(),
        headers.len() + payload.len(),
    );
    socket.write_all(message.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    assert!(socket.read(&mut answer).await.unwrap() > 0);
    let status = tokio::time::timeout(Duration::from_secs(30), worker.child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(6));
    testkit::processes::wait_until_gone("the worker's children", &family, GONE).await;
}

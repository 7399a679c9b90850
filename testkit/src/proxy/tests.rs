//! Against a plain echo server.

use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(30);

async fn echo_server() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn connected() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(&echo_server().await).await;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, client)
}

async fn round_trip(client: &mut TcpStream, bytes: &[u8]) -> Duration {
    let started = Instant::now();
    client.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    timeout(SOON, client.read_exact(&mut back)).await.expect("the echo comes back in time").unwrap();
    assert_eq!(back, bytes);
    started.elapsed()
}

async fn is_closed(client: &mut TcpStream) -> bool {
    matches!(timeout(SOON, client.read(&mut [0; 16])).await.expect("the end comes in time"), Ok(0) | Err(_))
}

#[tokio::test]
async fn without_a_fault_bytes_pass_both_ways_and_so_does_the_end() {
    let (proxy, mut client) = connected().await;
    round_trip(&mut client, &vec![7; 1_000_000][..]).await;
    client.shutdown().await.unwrap();
    assert!(is_closed(&mut client).await);
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_cut_closes_open_connections_and_new_ones_until_it_is_mended() {
    let (proxy, mut client) = connected().await;
    round_trip(&mut client, b"before").await;
    proxy.set(Fault::Cut);
    assert!(is_closed(&mut client).await);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(is_closed(&mut refused).await);
    proxy.set(Fault::Pass);
    let mut mended = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut mended, b"after").await;
}

#[tokio::test]
async fn a_black_hole_loses_nothing_and_delivers_when_it_is_lifted() {
    let (proxy, mut client) = connected().await;
    round_trip(&mut client, b"before").await;
    proxy.set(Fault::BlackHole);
    client.write_all(b"swallowed").await.unwrap();
    let mut fresh = TcpStream::connect(proxy.address()).await.unwrap();
    fresh.write_all(b"also").await.unwrap();
    // Nothing may arrive: a quarter of a second is thousands of round trips on this path.
    let mut back = [0; 9];
    assert!(timeout(Duration::from_millis(250), client.read(&mut back)).await.is_err());
    proxy.set(Fault::Pass);
    timeout(SOON, client.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"swallowed");
    timeout(SOON, fresh.read_exact(&mut back[..4])).await.unwrap().unwrap();
    assert_eq!(&back[..4], b"also");
}

#[tokio::test]
async fn a_delay_counts_for_each_direction_and_does_not_limit_throughput() {
    let (proxy, mut client) = connected().await;
    proxy.set(Fault::Delay(Duration::from_millis(100)));
    assert!(round_trip(&mut client, b"late").await >= Duration::from_millis(200));
    // 60 chunks on their way at once: one after the other they would take six seconds each way.
    let bytes = vec![7; 60 * CHUNK_BYTES];
    let (mut from, mut to) = client.split();
    let started = Instant::now();
    let (sent, received) = tokio::join!(to.write_all(&bytes), async {
        let mut back = vec![0; bytes.len()];
        timeout(SOON, from.read_exact(&mut back)).await.expect("the echo comes back in time")
    });
    sent.unwrap();
    received.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_throttle_limits_bytes_per_second_and_can_be_lifted_midway() {
    let (proxy, mut client) = connected().await;
    proxy.set(Fault::Throttle(100_000));
    assert!(round_trip(&mut client, &[7; 10_000]).await >= Duration::from_millis(200));
    proxy.set(Fault::Throttle(1));
    client.write_all(b"an hour at this rate").await.unwrap();
    proxy.set(Fault::Pass);
    let mut back = [0; 20];
    timeout(SOON, client.read_exact(&mut back)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_half_close_ends_what_the_client_reads_and_not_what_it_writes() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = Proxy::start(&format!("nats://{}", listener.local_addr().unwrap())).await;
    assert!(proxy.url().starts_with("nats://127.0.0.1:"));
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = timeout(SOON, listener.accept()).await.unwrap().unwrap();
    proxy.set(Fault::HalfClose);
    assert!(is_closed(&mut client).await);
    client.write_all(b"still here").await.unwrap();
    let mut received = [0; 10];
    timeout(SOON, server.read_exact(&mut received)).await.unwrap().unwrap();
    assert_eq!(&received, b"still here");
}

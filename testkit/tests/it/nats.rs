//! A broker per test.

use std::time::Duration;

use testkit::{Fault, Nats, Proxy, processes};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(10);

async fn greeting(address: &str) -> std::io::Result<[u8; 5]> {
    let mut stream = TcpStream::connect(address).await?;
    let mut greeting = [0; 5];
    tokio::time::timeout(SOON, stream.read_exact(&mut greeting)).await.expect("the broker greets in time")?;
    Ok(greeting)
}

fn address(url: &str) -> &str {
    url.strip_prefix("nats://").unwrap()
}

#[tokio::test]
async fn brokers_of_two_tests_know_nothing_of_each_other() {
    let (one, other) = tokio::join!(Nats::start(), Nats::start());
    assert_ne!(one.url(), other.url());
    assert_ne!(one.dir(), other.dir());
    assert_eq!(&greeting(address(&one.url())).await.unwrap(), b"INFO ");
    assert_eq!(&greeting(address(&other.url())).await.unwrap(), b"INFO ");
}

#[tokio::test]
async fn a_killed_broker_refuses_and_a_restarted_one_answers_at_the_same_address() {
    let mut nats = Nats::start_with(|config| config.sync_always = true).await;
    let url = nats.url();
    nats.kill().await;
    assert!(greeting(address(&url)).await.is_err());
    nats.restart().await;
    assert_eq!(nats.url(), url);
    assert_eq!(&greeting(address(&url)).await.unwrap(), b"INFO ");
}

#[tokio::test]
async fn a_dropped_broker_is_gone_with_its_directory() {
    let nats = Nats::start().await;
    let (pid, dir) = (nats.pid(), nats.dir().to_owned());
    drop(nats);
    assert!(!processes::alive(pid));
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_client_reaches_the_broker_through_the_proxy_until_it_is_cut() {
    let nats = Nats::start().await;
    let proxy = Proxy::start(&nats.url()).await;
    assert_eq!(&greeting(address(&proxy.url())).await.unwrap(), b"INFO ");
    proxy.set(Fault::Cut);
    assert!(greeting(address(&proxy.url())).await.is_err());
}

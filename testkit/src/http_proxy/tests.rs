//! Against a server that answers with the number of requests it has had.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(5);

async fn counting_server() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((mut client, _)) = listener.accept().await {
            let request = Request::read(&mut client).await.unwrap();
            count += 1;
            let answer = Answer::of(200, &[], &format!("{} {count}", request.path));
            client.write_all(&answer.bytes).await.unwrap();
        }
    });
    format!("http://{address}")
}

async fn ask(proxy: &HttpProxy, path: &str) -> String {
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, client.read_to_string(&mut answer)).await.expect("the answer ends in time").unwrap();
    answer
}

#[tokio::test]
async fn a_rule_concerns_the_calls_it_names_and_no_others() {
    let proxy = HttpProxy::start(&counting_server().await).await;
    proxy.set([Rule::on("/b", HttpFault::says(500, "oops")).after(1).times(1)]);
    assert!(ask(&proxy, "/a").await.ends_with("/a 1"));
    assert!(ask(&proxy, "/b").await.ends_with("/b 2"));
    let faulty = ask(&proxy, "/b").await;
    assert!(faulty.starts_with("HTTP/1.1 500") && faulty.ends_with("oops"), "{faulty}");
    assert!(ask(&proxy, "/b").await.ends_with("/b 3"), "the server did not hear of the faulty one");
    let seen: Vec<bool> = proxy.seen().iter().map(|seen| seen.is_faulty).collect();
    assert_eq!(seen, [false, false, true, false]);
}

#[tokio::test]
async fn an_answer_is_cut_or_replaced_after_the_server_did_what_was_asked() {
    let proxy = HttpProxy::start(&counting_server().await).await;
    proxy.set([Rule::on("/a", HttpFault::Cut(2)), Rule::on("/b", HttpFault::SaysAfterwards(502))]);
    assert!(ask(&proxy, "/a").await.ends_with("\r\n\r\n/a"));
    assert!(ask(&proxy, "/b").await.starts_with("HTTP/1.1 502"));
    proxy.set([]);
    assert!(ask(&proxy, "/c").await.ends_with("/c 3"));
}

#[tokio::test]
async fn a_call_that_hangs_ends_without_an_answer_when_the_rules_change() {
    let proxy = HttpProxy::start(&counting_server().await).await;
    proxy.set([Rule::on("/", HttpFault::Hangs)]);
    let hanging = ask(&proxy, "/a");
    let mended = async {
        crate::wait_until("the call came", SOON, async || (proxy.seen().len() == 1).then_some(())).await;
        proxy.set([]);
    };
    let (answer, ()) = tokio::join!(hanging, mended);
    assert_eq!(answer, "");
    assert!(ask(&proxy, "/b").await.ends_with("/b 1"));
}

#[tokio::test]
async fn a_late_call_reaches_the_server_when_the_rules_change_though_its_client_has_gone() {
    let proxy = HttpProxy::start(&counting_server().await).await;
    proxy.set([Rule::on("/a", HttpFault::Late)]);
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(b"POST /a HTTP/1.1\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    crate::wait_until("the call came", SOON, async || (proxy.seen().len() == 1).then_some(())).await;
    assert!(ask(&proxy, "/b").await.ends_with("/b 1"), "the server has not heard of it");
    drop(client);
    proxy.set([]);
    let mut asked = 1;
    crate::wait_until("it was passed on", SOON, async || {
        asked += 1;
        ask(&proxy, "/c").await.ends_with(&format!("/c {}", asked + 1)).then_some(())
    })
    .await;
}

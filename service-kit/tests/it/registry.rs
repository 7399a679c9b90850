//! The run registry on a real broker.

use std::time::Duration;

use schemas::RunId;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::registry::{Registry, RunRecord, record};
use service_kit::{clock, topology};
use testkit::{Fault, Nats, Proxy};

async fn registry(nats: &Nats) -> Registry {
    registry_at(&nats.url()).await
}

async fn registry_at(url: &str) -> Registry {
    let target = BrokerTarget::at(url).unwrap();
    let broker = Broker::connect(&target, "test", Duration::from_secs(10)).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    Registry::open(&broker).await.unwrap()
}

async fn put(registry: &Registry, run: &str) {
    let run = RunId::parse(run).unwrap();
    let add = |known: Option<&RunRecord>| (record::request_cancel(known, &run, "why", clock::now()), ());
    registry.change(&run, add).await.unwrap();
}

#[tokio::test]
async fn all_runs_are_read_whether_there_are_none_one_or_many() {
    let nats = Nats::start().await;
    let registry = registry(&nats).await;
    let all = async || tokio::time::timeout(Duration::from_secs(10), registry.all()).await.unwrap().unwrap();
    assert!(all().await.is_empty());
    put(&registry, "one").await;
    assert_eq!(all().await.len(), 1);
    for number in 0..300 {
        put(&registry, &format!("run-{number}")).await;
    }
    assert_eq!(all().await.len(), 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_written_while_all_are_read_is_not_missed() {
    const RUNS: usize = 20;
    let nats = Nats::start().await;
    let writer = registry(&nats).await;
    for number in 0..RUNS {
        put(&writer, &format!("run-{number}")).await;
    }
    // Whoever reads is far away; between any two words to the broker every run is written anew.
    let proxy = Proxy::start(&nats.url()).await;
    let reader = registry_at(&proxy.url()).await;
    proxy.set(Fault::Delay(Duration::from_millis(15)));
    let writing = tokio::spawn(async move {
        loop {
            for number in 0..RUNS {
                let run = RunId::parse(&format!("run-{number}")).unwrap();
                let touch = |known: Option<&RunRecord>| (known.cloned(), ());
                writer.change(&run, touch).await.unwrap();
            }
        }
    });
    for _ in 0..5 {
        let all = tokio::time::timeout(Duration::from_secs(30), reader.all()).await.unwrap().unwrap();
        assert_eq!(all.len(), RUNS);
        assert!(!writing.is_finished(), "somebody writes all the while");
    }
    writing.abort();
}

#[tokio::test]
async fn of_many_who_change_a_run_at_once_each_builds_on_the_last() {
    let nats = Nats::start().await;
    let registry = registry(&nats).await;
    put(&registry, "contended").await;
    let run = RunId::parse("contended").unwrap();
    let add_one = async || {
        let change = |known: Option<&RunRecord>| {
            let known = known.expect("the run is there");
            (Some(RunRecord { attempt: known.attempt + 1, ..known.clone() }), ())
        };
        registry.change(&run, change).await.unwrap();
    };
    futures_util::future::join_all((0..6).map(|_| add_one())).await;
    assert_eq!(registry.get(&run).await.unwrap().unwrap().record.attempt, 6);
}

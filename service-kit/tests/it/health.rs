//! The pages as a prober sees them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use service_kit::exit::Exit;
use service_kit::health::{self, Health, HealthArgs, probe};
use service_kit::metrics::Metrics;
use service_kit::shutdown::Shutdown;
use tokio::net::TcpListener;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Service {
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
    addr: SocketAddr,
}

impl Service {
    async fn start() -> Self {
        let (health, metrics, shutdown) = (Health::new("test"), Metrics::new(), Shutdown::manual());
        let addr = health::serve(ANY_PORT, health.clone(), metrics.clone(), shutdown.clone()).await.unwrap();
        Self { health, metrics, shutdown, addr }
    }

    async fn is_ready(&self) -> Result<String, String> {
        probe(self.addr, "/readyz").await.map_err(|error| error.because.unwrap_or_default())
    }
}

#[tokio::test]
async fn a_service_is_ready_when_every_component_says_so() {
    let service = Service::start().await;
    assert_eq!(service.is_ready().await.unwrap_err(), "starting", "nothing has been heard of yet");
    let broker = service.health.component("broker");
    let slots = service.health.component("slots");
    broker.ready();
    assert_eq!(service.is_ready().await.unwrap_err(), "slots: starting");
    slots.ready();
    assert_eq!(service.is_ready().await.unwrap(), "ok\n");
    broker.not_ready("connection lost");
    assert_eq!(service.is_ready().await.unwrap_err(), "broker: connection lost");
    assert_eq!(probe(service.addr, "/livez").await.unwrap(), "ok\n", "alive without the broker");
}

#[tokio::test]
async fn a_draining_service_is_alive_and_not_ready() {
    let service = Service::start().await;
    service.health.component("broker").ready();
    service.shutdown.trigger_drain();
    assert_eq!(service.is_ready().await.unwrap_err(), "draining");
    assert!(probe(service.addr, "/livez").await.is_ok());
}

#[tokio::test]
async fn health_says_everything_as_json() {
    let service = Service::start().await;
    service.health.component("broker").not_ready("a\u{1b}[31m");
    let report: serde_json::Value =
        serde_json::from_str(&probe(service.addr, "/health").await.unwrap()).unwrap();
    assert_eq!(report["service"], "test");
    assert_eq!((&report["live"], &report["ready"]), (&true.into(), &false.into()));
    assert_eq!(report["status"], "not_ready");
    let broker = serde_json::json!({"name": "broker", "ready": false, "reason": "a\\u{1b}[31m"});
    assert_eq!(report["components"], serde_json::json!([broker]));
}

#[tokio::test]
async fn metrics_are_served() {
    let service = Service::start().await;
    service.metrics.counter("runs", "Runs taken").inc_by(3);
    assert!(probe(service.addr, "/metrics").await.unwrap().contains("cerebros_runs_total 3\n"));
}

#[tokio::test]
async fn a_busy_port_that_was_asked_for_is_an_error_that_names_it() {
    let taken = Service::start().await;
    let asked = HealthArgs { http: Some(taken.addr) };
    let error = asked.serve(0, Health::new("other"), Metrics::new(), Shutdown::manual()).await.unwrap_err();
    assert_eq!((error.code, error.exit), ("port-busy", Exit::LocalResource));
    assert!(error.what.contains(&taken.addr.port().to_string()), "{}", error.what);
}

#[tokio::test]
async fn a_busy_default_port_is_passed_over() {
    let taken = Service::start().await;
    let nothing_asked = HealthArgs { http: None };
    let found =
        nothing_asked.serve(taken.addr.port(), Health::new("other"), Metrics::new(), Shutdown::manual());
    let found = found.await.unwrap();
    assert!(found.port() > taken.addr.port());
    assert!(found.ip().is_loopback());
    assert!(probe(found, "/livez").await.is_ok());
}

#[tokio::test]
async fn the_pages_end_with_the_service() {
    let service = Service::start().await;
    service.shutdown.trigger_now();
    let gone = async {
        while probe(service.addr, "/livez").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the pages outlive the service");
    assert_eq!(probe(service.addr, "/livez").await.unwrap_err().exit, Exit::Unreachable);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = TcpListener::bind(ANY_PORT).await.unwrap();
    let error = probe(silent.local_addr().unwrap(), "/readyz").await.unwrap_err();
    assert_eq!((error.code, error.exit), ("not-answering", Exit::Unreachable));
}

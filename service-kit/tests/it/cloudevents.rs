//! The CloudEvents library of another language, on the wire: it parses what we publish, and what it makes we accept.

use std::process::Command;
use std::time::Duration;

use schemas::cloudevents::{Context, Voice};
use schemas::event::{MetricReported, RunRequested};
use schemas::subject::STREAM;
use schemas::{Encoding, Event, RunId, TrialId};
use serde_json::Value;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::config::BrokerTarget;
use service_kit::history::History;
use service_kit::publish::Publisher;
use service_kit::topology;
use testkit::Nats;

/// Runs the foreign side and reads the JSON lines it prints.
async fn foreign(nats: &Nats, what: &str) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/foreign_cloudevents.py");
    let python = testkit::tests_python().await;
    let (url, what) = (nats.url(), what.to_owned());
    let output = tokio::task::spawn_blocking(move || {
        Command::new(python).args(["-I", script, &url, &what]).output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn connect(nats: &Nats) -> Broker {
    let target = BrokerTarget::at(&nats.url()).unwrap();
    let broker = Broker::connect(&target, "test", Duration::from_secs(10)).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    broker
}

#[tokio::test]
async fn the_official_library_parses_what_we_publish_in_both_encodings() {
    let nats = Nats::start().await;
    let broker = connect(&nats).await;
    let run = RunId::parse("r-1").unwrap();
    let context = Context { source: "/cerebros/tests/\"Prüfer\" 100%".into(), ..Context::default() };
    let voice = Voice { run: run.clone(), attempt: 2, epoch: 0, context };
    let event: Event = MetricReported {
        run_id: run.clone(),
        trial_id: TrialId::numbered(&run, 7),
        name: "gradient norm".into(),
        value: 0.5.into(),
        step: 3,
        recorded_at: clock::now(),
        attempt: Some(2),
    }
    .into();
    Publisher::new(&broker, Encoding::Json).publish(&event, &voice).await.unwrap();
    let asked: Event = RunRequested { run_id: Some(run.clone()), ..RunRequested::new("digits") }.into();
    Publisher::new(&broker, Encoding::Avro).publish(&asked, &voice).await.unwrap();

    let parsed = foreign(&nats, "parse").await;
    assert_eq!(parsed.len(), 2);
    let [metric, request] = &parsed[..] else { panic!("{parsed:?}") };
    assert_eq!(metric["id"], "r-1:0:metric:r-1-t00007:gradient norm.3");
    assert_eq!(metric["type"], "ml.run.metric.v1");
    assert_eq!(metric["source"], "/cerebros/tests/\"Prüfer\" 100%");
    assert_eq!((&metric["subject"], &metric["specversion"]), (&"r-1".into(), &"1.0".into()));
    assert_eq!(metric["dataschema"], format!("cerebros:MetricReported:1:{}", event.record().fingerprint()));
    assert_eq!(metric["datacontenttype"], "application/json");
    assert_eq!(metric["data"]["value"], 0.5);
    assert_eq!(metric["id_header"], metric["message_id"], "both headers have the same text");
    assert_eq!(request["datacontenttype"], "application/avro");
    assert_eq!(request["type"], "cerebros.nas.run.requested.v1");
    // The foreign side looked the schema up in the bucket by the bytes' own fingerprint.
    assert_eq!(request["data"]["dataset_id"], "digits");
    assert_eq!(request["data"]["budget"]["max_trials"], 10);
}

#[tokio::test]
async fn what_the_official_library_makes_in_either_mode_is_accepted() {
    let nats = Nats::start().await;
    let broker = connect(&nats).await;
    foreign(&nats, "publish").await;
    let mut history = History::to_the_present(&broker, STREAM, &[], 1).await.unwrap();
    let mut seen = Vec::new();
    while let Some(kept) = history.next().await.unwrap() {
        let decoded = kept.decode().unwrap();
        let Event::RunRequested(request) = decoded.event else { panic!("it asks for a run") };
        seen.push((request.dataset_id, request.tags["from"].clone(), decoded.encoding));
    }
    let expected = |mode: &str, encoding| ("iris".to_owned(), mode.to_owned(), encoding);
    assert_eq!(
        seen,
        [
            expected("binary", Encoding::Json),
            expected("structured", Encoding::Json),
            expected("binary avro", Encoding::Avro),
            expected("structured avro", Encoding::Avro),
        ]
    );
}

//! More than one request takes, under names and with values nobody would choose.

use std::collections::{BTreeMap, BTreeSet};

use schemas::event::TrialReported;
use schemas::{Event, Json, Real, RunId};
use serde_json::{Value, json};
use testkit::{Mlflow, experiment_name};

use crate::events::{ended, reported, run, started, value};
use crate::own::Own;
use crate::pipeline::Pipeline;
use crate::server::Server;

/// Names a server may refuse, or take for something else.
const NAMES: [&str; 12] = [
    "",
    "/",
    "..",
    "../../etc/passwd",
    "a//b",
    "größe %",
    "名前",
    "\u{202e}gnp",
    "a\nb",
    "'; DROP TABLE runs; --",
    "mlflow.parentRunId",
    "cerebros.run_id",
];
const VALUES: [&str; 7] =
    ["", " ", "\u{0}", "line\nline\r\n", "{\"a\": [1, \"'\"]}", "🧠\u{200d}🔬", "'; DROP TABLE runs; --"];

fn name(index: usize) -> String {
    format!(
        "{}{}",
        NAMES[index % NAMES.len()],
        if index < NAMES.len() { String::new() } else { index.to_string() }
    )
}

/// Nobody may say a metric without a name, or with a control character in it.
fn metric_name(index: usize) -> String {
    format!("{}%", name(index).replace('\n', "|"))
}

fn pairs(data: &Value, kind: &str) -> BTreeMap<String, String> {
    let entries = data[kind].as_array().into_iter().flatten();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    entries.map(|entry| (text(entry, "key"), text(entry, "value"))).collect()
}

#[tokio::test]
async fn thousands_of_metrics_and_hundreds_of_parameters_and_tags_with_hostile_names_are_all_there() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, run) = (experiment_name("hostile"), run("hostile"));
    let tags: BTreeMap<String, &str> =
        (0..300).map(|index| (name(index), VALUES[index % VALUES.len()])).collect();
    let Event::MlRunStarted(mut start) = started(&run, &experiment) else { panic!("a start") };
    start.extra.0["tags"] = json!(tags);
    let long = "ü".repeat(7000);
    let value_of = |index: usize| if index == 249 { long.as_str() } else { VALUES[index % VALUES.len()] };
    let parameters: BTreeMap<String, &str> = (0..250).map(|index| (name(index), value_of(index))).collect();
    let report = TrialReported {
        metrics: (0..2000_u32).map(|index| (metric_name(index as usize), Real(f64::from(index)))).collect(),
        parameters: Json(json!(parameters)),
        ..reported(&run, 0)
    };
    let mut events = vec![start.into()];
    for (step, number) in
        [(0, 0.5), (3, f64::NAN), (4, f64::NAN), (9, f64::NEG_INFINITY), (i64::MAX - 1, f64::MAX)]
    {
        let Event::MetricReported(metric) = value(&run, 0, "loss (train) %", 0, number) else {
            panic!("a value")
        };
        events.push(schemas::event::MetricReported { step, ..metric }.into());
    }
    // A report carries two thousand; the others come as they were trained.
    events.extend((2000..5000).map(|index| value(&run, 0, &metric_name(index), 0, index as f64)));
    let sequence = events.len() + 1;
    events.push(report.into());
    events.extend(ended(&run, 1));
    let sink = pipeline.sink(&mlflow.url(), "unused");
    pipeline.publish(&run, &events).await;
    pipeline.caught_up().await;
    sink.stop().await;

    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    let server = Server::at(&mlflow.url());
    let runs = server.raw(&experiment).await;
    let (parent, trial) = (&runs["hostile"]["data"], &runs["trial-00000"]["data"]);
    let (labels, told) = (pairs(parent, "tags"), pairs(trial, "tags"));
    // Every tag of the request is there under its own name, or under one that names it.
    for (tag, value) in &tags {
        let is_reserved = tag.starts_with("mlflow.") || tag.starts_with("cerebros.");
        let tag = if is_reserved { format!("cerebros.tag.{tag}") } else { tag.clone() };
        let key = legal_of(&labels, &tag);
        assert_eq!(labels[&key], value.replace('\0', "\u{2400}"), "{tag:?}");
    }
    assert_eq!(labels["cerebros.run_id"], "hostile");

    let params = pairs(trial, "params");
    assert_eq!(params.len(), 250);
    for (name, value) in &parameters {
        let key = legal_of(&told, name);
        if value.len() < 100 {
            assert_eq!(params[&key], value.replace('\0', "\u{2400}"), "{name:?}");
        } else {
            assert!(params[&key].ends_with("[cut, 7000 characters]"));
            let trace = &told[&format!("cerebros.cut.param.{key}")];
            assert!(trace.ends_with(&format!("chars:7000 sequence:{sequence}")), "{trace}");
        }
    }

    let metrics: BTreeSet<&str> =
        trial["metrics"].as_array().unwrap().iter().map(|metric| metric["key"].as_str().unwrap()).collect();
    assert_eq!(metrics.len(), 5000 + 2, "those of the report, its spectral norm, and one of the epochs");
    assert!((0..5000).all(|index| metrics.contains(legal_of(&told, &metric_name(index)).as_str())));
    let strange = told.iter().find(|(tag, _)| tag.starts_with("cerebros.nonfinite.")).unwrap().1;
    let strange: Value = serde_json::from_str(strange).unwrap();
    assert_eq!(strange, json!({"NaN": [[3, 4]], "-Infinity": [[9, 9]], "name": "loss (train) %"}));

    // Whatever is not as it was lies whole beside it.
    let id = |name: &str| runs[name]["info"]["run_id"].as_str().unwrap();
    for (name, known) in [("hostile", &labels), ("trial-00000", &told)] {
        assert_eq!(known["cerebros.originals"], "cerebros/originals.json");
        let file = originals(&server, id(name), &experiment).await;
        for (tag, original) in known.iter().filter(|(tag, _)| tag.starts_with("cerebros.name.")) {
            let legal = &tag["cerebros.name.".len()..];
            assert!(file["names"].get(legal).is_none_or(|name| name == original.as_str()), "{legal}");
        }
        let changed = known.keys().filter(|tag| tag.starts_with("cerebros.name.")).count();
        assert!(file["names"].as_object().unwrap().len() >= changed, "{changed}");
        let cut: BTreeSet<&str> = known.keys().filter_map(|tag| tag.strip_prefix("cerebros.cut.")).collect();
        assert_eq!(file["values"].as_object().unwrap().len(), cut.len(), "{cut:?}");
    }
    let file = originals(&server, id("trial-00000"), &experiment).await;
    let whole = file["values"].as_object().unwrap().values().filter(|value| *value == long.as_str()).count();
    assert_eq!(whole, 1);
}

async fn originals(server: &Server, run: &str, experiment: &str) -> Value {
    let file = server.artifact(run, experiment, "cerebros/originals.json").await.unwrap();
    serde_json::from_slice(&file).unwrap()
}

/// A search whose trial has a parameter that is too long, and values under a name nobody takes.
fn odd(run: &RunId, experiment: &str) -> Vec<Event> {
    let parameters = Json(json!({"big": "x".repeat(7000)}));
    let report = TrialReported { parameters, ..reported(run, 0) };
    let values = (0..3).map(|step| value(run, 0, "loss %", step, 0.5));
    [started(run, experiment)].into_iter().chain(values).chain([report.into()]).chain(ended(run, 1)).collect()
}

#[tokio::test]
async fn originals_are_the_same_bytes_however_often_they_are_told_and_grow_from_batch_to_batch() {
    for mlflow in [Mlflow::shared().await, Mlflow::shared_2().await] {
        let (pipeline, server) = (Pipeline::start().await, Server::at(&mlflow.url()));
        let (experiment, run) = (experiment_name("originals"), run("originals"));
        let events = odd(&run, &experiment);
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.publish(&run, &events[..2]).await;
        pipeline.caught_up().await;
        pipeline.publish(&run, &events[2..]).await;
        pipeline.caught_up().await;
        sink.stop().await;
        let id = server.runs(&experiment).await["trial-00000"].id.clone();
        let before = server.artifact(&id, &experiment, "cerebros/originals.json").await.unwrap();
        let file: Value = serde_json::from_slice(&before).unwrap();
        assert_eq!(file["values"], json!({"param.big": "x".repeat(7000)}));
        let names: Vec<&Value> = file["names"].as_object().unwrap().values().collect();
        assert_eq!(names, ["loss %"]);

        pipeline.forget_the_position().await;
        pipeline.delete_the_ledger();
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        assert_eq!(server.artifact(&id, &experiment, "cerebros/originals.json").await, Some(before));
        assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn originals_are_brought_outside_the_server_and_without_any_store_the_stream_has_them() {
    let (mlflow, bare) = (Mlflow::shared().await, Own::that_takes_no_files().await);
    let (experiment, run, outside) = (experiment_name("outside"), run("outside"), testkit::Scratch::new());
    let server = Server::at(&mlflow.url());
    server.create_experiment_at(&experiment, &format!("file://{}", outside.path().display())).await;
    for url in [mlflow.url(), bare.url.clone()] {
        let pipeline = Pipeline::start().await;
        pipeline.publish(&run, &odd(&run, &experiment)).await;
        let sink = pipeline.sink(&url, "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    }
    let id = server.runs(&experiment).await["trial-00000"].id.clone();
    let file = std::fs::read(outside.join(&id).join("artifacts/cerebros/originals.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(file["values"], json!({"param.big": "x".repeat(7000)}));

    let trial = &Server::at(&bare.url).runs(&experiment).await["trial-00000"];
    assert!(trial.tags["cerebros.originals"].starts_with("in the stream only"), "{:?}", trial.tags);
    assert!(trial.tags["cerebros.cut.param.big"].ends_with("sequence:5"), "{:?}", trial.tags);
    assert_eq!(trial.status, "FINISHED");
}

/// The name under which MLflow has what was named so, as the tags tell it.
fn legal_of(tags: &BTreeMap<String, String>, name: &str) -> String {
    let told = tags.iter().find(|(tag, original)| tag.starts_with("cerebros.name.") && *original == name);
    told.map_or_else(|| name.to_owned(), |(tag, _)| tag["cerebros.name.".len()..].to_owned())
}

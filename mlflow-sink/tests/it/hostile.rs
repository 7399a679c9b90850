//! More than one request takes, under names and with values nobody would choose.

use std::collections::{BTreeMap, BTreeSet};

use schemas::event::TrialReported;
use schemas::{Event, Json, Real};
use serde_json::{Value, json};
use testkit::{Mlflow, experiment_name};

use crate::events::{ended, reported, run, started, value};
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
    let runs = Server::at(&mlflow.url()).raw(&experiment).await;
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
}

/// The name under which MLflow has what was named so, as the tags tell it.
fn legal_of(tags: &BTreeMap<String, String>, name: &str) -> String {
    let told = tags.iter().find(|(tag, original)| tag.starts_with("cerebros.name.") && *original == name);
    told.map_or_else(|| name.to_owned(), |(tag, _)| tag["cerebros.name.".len()..].to_owned())
}

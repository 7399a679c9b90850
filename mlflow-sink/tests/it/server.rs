//! What MLflow has, asked over its REST interface without the code under test.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A run as MLflow has it, with the whole history of its metrics.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) start_time: i64,
    pub(crate) end_time: Option<i64>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) params: BTreeMap<String, String>,
    /// (name, context) of each data set.
    pub(crate) datasets: Vec<(String, String)>,
    /// (step, value, timestamp) by name.
    pub(crate) history: BTreeMap<String, Vec<(i64, f64, i64)>>,
}

pub(crate) struct Server {
    url: String,
    http: reqwest::Client,
}

/// Each call has its own connection: MLflow closes one that was idle for five seconds, and a call may be on its way then.
fn client() -> reqwest::ClientBuilder {
    service_kit::mlflow::http::bare().no_proxy().pool_max_idle_per_host(0)
}

impl Server {
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), http: client().build().unwrap() }
    }

    /// What it has in a workspace of its, which is made.
    pub(crate) async fn in_new_workspace(url: &str, name: &str) -> Self {
        let header = [("x-mlflow-workspace".parse().unwrap(), name.parse().unwrap())];
        let client = client().default_headers(header.into_iter().collect());
        let made = Self::at(url).http.post(format!("{url}/api/3.0/mlflow/workspaces"));
        made.json(&json!({"name": name})).send().await.unwrap().error_for_status().unwrap();
        Self { url: url.to_owned(), http: client.build().unwrap() }
    }

    pub(crate) async fn experiment(&self, name: &str) -> String {
        let path = "experiments/get-by-name";
        let request =
            self.http.get(format!("{}/api/2.0/mlflow/{path}", self.url)).query(&[("experiment_name", name)]);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["experiment"]["experiment_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub(crate) async fn delete_experiment(&self, name: &str) {
        let id = self.experiment(name).await;
        self.post("experiments/delete", json!({"experiment_id": id})).await;
    }

    pub(crate) async fn delete_run(&self, id: &str) {
        self.post("runs/delete", json!({"run_id": id})).await;
    }

    pub(crate) async fn set_status(&self, id: &str, status: &str) {
        self.post("runs/update", json!({"run_id": id, "status": status})).await;
    }

    pub(crate) async fn set_end(&self, id: &str, end_time: i64) {
        self.post("runs/update", json!({"run_id": id, "status": "FINISHED", "end_time": end_time})).await;
    }

    pub(crate) async fn set_tag(&self, id: &str, name: &str, value: &str) {
        self.post("runs/set-tag", json!({"run_id": id, "key": name, "value": value})).await;
    }

    pub(crate) async fn delete_tag(&self, id: &str, name: &str) {
        self.post("runs/delete-tag", json!({"run_id": id, "key": name})).await;
    }

    pub(crate) async fn log_metric(&self, id: &str, name: &str, value: f64, step: i64) {
        let body = json!({"run_id": id, "key": name, "value": value, "step": step, "timestamp": 1});
        self.post("runs/log-metric", body).await;
    }

    pub(crate) async fn create_run(&self, experiment: &str, tags: &[(&str, String)]) {
        let id = self.experiment(experiment).await;
        let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        self.post("runs/create", json!({"experiment_id": id, "start_time": 1, "tags": tags})).await;
    }

    pub(crate) async fn create_experiment(&self, name: &str) {
        self.post("experiments/create", json!({"name": name})).await;
    }

    pub(crate) async fn create_experiment_at(&self, name: &str, artifacts: &str) {
        self.post("experiments/create", json!({"name": name, "artifact_location": artifacts})).await;
    }

    /// The runs of an experiment that holds one search, by their names.
    pub(crate) async fn runs(&self, experiment: &str) -> BTreeMap<String, Run> {
        let all = self.run_set(experiment).await;
        let count = all.len();
        let runs: BTreeMap<_, _> = all.into_iter().map(|run| (run.name.clone(), run)).collect();
        assert_eq!(runs.len(), count, "no two runs of one name");
        runs
    }

    /// How many runs an experiment has.
    pub(crate) async fn count(&self, experiment: &str) -> usize {
        let id = self.experiment(experiment).await;
        let found = self.post("runs/search", json!({"experiment_ids": [id], "max_results": 1000})).await;
        found["runs"].as_array().map_or(0, Vec::len)
    }

    /// The runs of an experiment in the order of their ids, with everything they have.
    pub(crate) async fn run_set(&self, experiment: &str) -> Vec<Run> {
        let id = self.experiment(experiment).await;
        let found = self.post("runs/search", json!({"experiment_ids": [id], "max_results": 1000})).await;
        let mut runs = Vec::new();
        for run in found["runs"].as_array().into_iter().flatten() {
            runs.push(self.read(run).await);
        }
        runs.sort_by(|a, b| a.id.cmp(&b.id));
        runs
    }

    /// The runs of an experiment as the server tells them, by their names: without the history of their metrics.
    pub(crate) async fn raw(&self, experiment: &str) -> BTreeMap<String, Value> {
        let id = self.experiment(experiment).await;
        let mut found = self.post("runs/search", json!({"experiment_ids": [id], "max_results": 1000})).await;
        let runs = found["runs"].as_array_mut().map(std::mem::take).unwrap_or_default();
        runs.into_iter().map(|run| (run["info"]["run_name"].as_str().unwrap().to_owned(), run)).collect()
    }

    /// The logged models of an experiment, as the server tells them.
    pub(crate) async fn models(&self, experiment: &str) -> Vec<Value> {
        let id = self.experiment(experiment).await;
        let found = self.post("logged-models/search", json!({"experiment_ids": [id]})).await;
        found["models"].as_array().cloned().unwrap_or_default()
    }

    /// A file among the artefacts of a run; `None` when there is none.
    pub(crate) async fn artifact(&self, run: &str, experiment: &str, path: &str) -> Option<Vec<u8>> {
        let id = self.experiment(experiment).await;
        self.kept(&format!("{id}/{run}/artifacts/{path}")).await
    }

    /// A file of the server's own artefact store.
    pub(crate) async fn kept(&self, place: &str) -> Option<Vec<u8>> {
        let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{place}", self.url);
        let answer = self.http.get(url).send().await.unwrap();
        if !answer.status().is_success() {
            return None;
        }
        Some(answer.bytes().await.unwrap().to_vec())
    }

    async fn read(&self, run: &Value) -> Run {
        let pairs = |kind: &str| {
            let entries = run["data"][kind].as_array().cloned().unwrap_or_default();
            let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            entries.iter().map(|entry| (text(entry, "key"), text(entry, "value"))).collect()
        };
        let id = run["info"]["run_id"].as_str().unwrap().to_owned();
        let mut history = BTreeMap::new();
        for metric in run["data"]["metrics"].as_array().into_iter().flatten() {
            let key = metric["key"].as_str().unwrap().to_owned();
            let points = self.history(&id, &key).await;
            history.insert(key, points);
        }
        let input = |input: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&input["dataset"]["name"]), text(&input["tags"][0]["value"]))
        };
        Run {
            datasets: run["inputs"]["dataset_inputs"].as_array().into_iter().flatten().map(input).collect(),
            name: run["info"]["run_name"].as_str().unwrap().to_owned(),
            status: run["info"]["status"].as_str().unwrap().to_owned(),
            start_time: run["info"]["start_time"].as_i64().unwrap(),
            end_time: run["info"]["end_time"].as_i64(),
            tags: pairs("tags"),
            params: pairs("params"),
            history,
            id,
        }
    }

    async fn history(&self, id: &str, key: &str) -> Vec<(i64, f64, i64)> {
        let request = self.http.get(format!("{}/api/2.0/mlflow/metrics/get-history", self.url));
        let answer: Value =
            request.query(&[("run_id", id), ("metric_key", key)]).send().await.unwrap().json().await.unwrap();
        let point = |point: &Value| {
            let step = point["step"].as_i64().unwrap_or(0);
            (step, point["value"].as_f64().unwrap(), point["timestamp"].as_i64().unwrap())
        };
        let mut points: Vec<_> = answer["metrics"].as_array().into_iter().flatten().map(point).collect();
        points.sort_by(|a, b| a.partial_cmp(b).unwrap());
        points
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}/api/2.0/mlflow/{path}", self.url)).json(&body);
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }
}

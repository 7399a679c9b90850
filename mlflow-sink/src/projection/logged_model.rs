//! The best model of a completed run as a logged model of MLflow 3: what it is called, what is said of it, and the
//! description that lies beside its files.

use std::collections::BTreeMap;

use schemas::event::RunCompleted;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::dataset::hex;
use super::flatten::flatten;
use super::model::{FOLDER, Model};
use super::parent::RUN_TAG;
use super::trial::TRIAL_TAG;
use super::{Seen, Writes};

/// Tag of a run with the logged model it made.
pub const LOGGED_MODEL_TAG: &str = "cerebros.logged_model";
/// What kind of model it is, and the name of its flavour.
const TYPE: &str = "cerebros";
/// Most parameters that are told of it: as many as MLflow's own client tells with the creation.
const MAX_PARAMS: usize = 100;
/// What no name of a logged model may hold.
const NOT_IN_NAMES: [char; 6] = ['/', ':', '.', '%', '"', '\''];
/// File that describes it.
pub const DESCRIPTION: &str = "MLmodel";

/// A logged model, the same for the same end of the same run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedModel {
    /// For people.
    pub name: String,
    /// Tells the models of one run apart: that of its best trial with these files.
    pub mark: String,
    /// What it is of.
    pub tags: BTreeMap<String, String>,
    /// Parameters of the best trial.
    pub params: BTreeMap<String, String>,
    files: Vec<(String, String)>,
    created: String,
}

/// The logged model of a run that is complete, with these files.
pub fn logged_model(ended: &RunCompleted, seen: &Seen, files: &[Model]) -> LoggedModel {
    let mut writes = Writes::default();
    writes.tag(RUN_TAG, ended.run_id.as_str());
    writes.tag_some(TRIAL_TAG, ended.best_trial_id.as_ref());
    writes.tag_some("cerebros.best_metric", ended.best_metric);
    let tags = std::mem::take(&mut writes.tags);
    flatten("", &ended.best_model.0, &mut |name, text| writes.param(name, text));
    let files: Vec<(String, String)> =
        files.iter().map(|file| (file.path.clone(), file.sha256.clone())).collect();
    let mark = hex(&Sha256::digest(json!([ended.best_trial_id, files]).to_string())[..8]);
    LoggedModel {
        name: ended.run_id.as_str().replace(NOT_IN_NAMES, "_"),
        mark,
        tags,
        params: writes.params.into_iter().take(MAX_PARAMS).collect(),
        files,
        created: seen.at.to_string(),
    }
}

impl LoggedModel {
    /// MLflow's word for what kind of model it is.
    pub fn kind(&self) -> &'static str {
        TYPE
    }

    /// The file MLflow's clients look for beside the files of a model: YAML, of which JSON is a part.
    pub fn description(&self, id: &str, run: &str) -> String {
        let files: Vec<_> =
            self.files.iter().map(|(path, sha256)| json!({"path": path, "sha256": sha256})).collect();
        let description = json!({
            "flavors": {TYPE: {"data": FOLDER, "files": files}},
            "model_id": id,
            "run_id": run,
            "utc_time_created": self.created,
        });
        let mut text = serde_json::to_string_pretty(&description).expect("texts are plain data");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use schemas::event::ArtifactRef;
    use schemas::{Event, Json, RunId, Timestamp};

    use super::*;
    use crate::projection::model::model;

    fn ended(run: &str) -> RunCompleted {
        RunCompleted {
            run_id: RunId::parse(run).unwrap(),
            attempt: 1,
            status: "succeeded".into(),
            completed_trials: 1,
            failed_trials: 0,
            best_trial_id: Some("t".into()),
            best_metric: None,
            best_model: Json(json!({"layers": [64], "größe": 1})),
            population_history: Json::list(),
            duration_ms: 1,
            artifact_refs: Vec::new(),
        }
    }

    fn file(checksum: &str) -> Model {
        model(&ArtifactRef {
            uri: "nats://cerebros_artifacts/r/t/w.bin".into(),
            checksum: Some(format!("sha256:{checksum}")),
            bytes: None,
            media_type: None,
        })
        .unwrap()
    }

    fn of(run: &str, checksum: &str) -> LoggedModel {
        let ended = ended(run);
        let event = Event::from(ended.clone());
        let seen = Seen { event, at: Timestamp::from_micros(0), schema: None, attempt: None, sequence: 1 };
        logged_model(&ended, &seen, &[file(checksum)])
    }

    #[test]
    fn it_has_a_legal_name_and_the_parameters_of_its_trial() {
        let model = of("a.b", "ab");
        assert_eq!((model.name.as_str(), model.tags[RUN_TAG].as_str()), ("a_b", "a.b"));
        assert_eq!((model.params["layers"].as_str(), model.params.len()), ("[64]", 2));
    }

    #[test]
    fn other_files_are_another_model_and_the_same_are_the_same() {
        assert_eq!(of("r", "ab"), of("r", "ab"));
        assert_ne!(of("r", "ab").mark, of("r", "cd").mark);
    }

    #[test]
    fn its_description_names_what_it_is_of_and_its_files() {
        let text = of("r", "ab").description("m-1", "run-1");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["model_id"], &read["run_id"]), (&json!("m-1"), &json!("run-1")));
        assert_eq!(read["flavors"]["cerebros"]["files"][0], json!({"path": "model/w.bin", "sha256": "ab"}));
        assert_eq!(read["utc_time_created"], "1970-01-01T00:00:00Z");
    }
}

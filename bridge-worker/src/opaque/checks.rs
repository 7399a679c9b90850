//! What comes back from `run_nas`, held against what was agreed: nine checks.
//!
//! Pure. A result that says it failed is a failure in its own words; only one that says it went well can lack something.

use schemas::event::TrialStatus;
use schemas::{Failure, FailureClass, Stage};
use serde_json::{Map, Value, json};

use crate::child::protocol::CallResult;
use crate::script::{status_of, words_of_failure};

/// Largest parts of a result the end of a run tells, so that its events stay within their limit.
const MAX_MODEL_BYTES: usize = 96 * 1024;
const MAX_HISTORY_BYTES: usize = 192 * 1024;
const MAX_METADATA_BYTES: usize = 96 * 1024;
/// Most files of a result that are told.
const MAX_ARTIFACTS: usize = 200;

/// A result that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The best model, as the function describes it.
    pub best_model: Value,
    /// Its metric.
    pub best_metric: f64,
    /// Trials the function says it has completed.
    pub completed_trials: u32,
    /// The course of the search.
    pub population_history: Value,
    /// Files, as the function names them.
    pub artifacts: Vec<Value>,
    /// Whatever else it tells.
    pub metadata: Value,
    /// What had to be left out.
    pub left_out: Vec<String>,
}

/// The nine checks, in order: return code, result, status, best model, best metric, completed trials, population history,
/// artefacts, metadata. `counted` trials were told of on the way. The first three stand alone; of the rest all that is
/// wrong is said at once.
///
/// # Errors
/// What is wrong, as a failure whose origin is the function.
pub fn check(result: &CallResult, counted: u32) -> Result<Told, Failure> {
    returned_well(result)?;
    let value = result_of(result)?;
    says_success(value)?;
    let mut wrong = Vec::new();
    let mut take = |checked: Result<Value, String>| {
        checked.unwrap_or_else(|what| {
            wrong.push(what);
            Value::Null
        })
    };
    let mut told = Told {
        best_model: take(best_model(value)),
        completed_trials: 0,
        best_metric: f64::NAN,
        population_history: take(list(value, "population_history")),
        artifacts: match take(list(value, "artifacts")) {
            Value::Array(artifacts) => artifacts,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                Vec::new()
            }
        },
        metadata: take(object(value, "metadata")),
        left_out: Vec::new(),
    };
    match completed_trials(value, counted) {
        Ok(count) => told.completed_trials = count,
        Err(what) => wrong.push(what),
    }
    match best_metric(value) {
        Ok(metric) => told.best_metric = metric,
        Err(what) => wrong.push(what),
    }
    if !wrong.is_empty() {
        return Err(failure(
            FailureClass::ParseError,
            format!("the result of the run: {}", wrong.join("; ")),
        ));
    }
    if !told.best_metric.is_finite() {
        let what = format!("the result of the run: best_metric is {}", told.best_metric);
        return Err(failure(FailureClass::NanObjective, what));
    }
    told.shorten();
    Ok(told)
}

/// 1: the call came back at all, and did not raise. (An exit status that is not 0 never gets this far.)
fn returned_well(result: &CallResult) -> Result<(), Failure> {
    if let Some(told) = &result.failure {
        let class = told.class();
        return Err(failure(class, told.message.clone()).with_traceback(told.traceback.as_deref()));
    }
    match result.status {
        TrialStatus::Succeeded => Ok(()),
        TrialStatus::Cancelled => Err(failure(FailureClass::Cancelled, "the run was stopped".to_owned())),
        TrialStatus::Failed | TrialStatus::Skipped | TrialStatus::Pruned => {
            Err(failure(FailureClass::UserCode, "the run failed without saying why".to_owned()))
        }
    }
}

/// 2: there is a result, and something is in it.
fn result_of(result: &CallResult) -> Result<&Map<String, Value>, Failure> {
    match result.value.as_ref().and_then(|value| value.0.as_object()) {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) | None => Err(failure(FailureClass::ParseError, "the run returned no result".to_owned())),
    }
}

/// 3: it says that it went well. One that says it failed is believed, in its own words.
fn says_success(value: &Map<String, Value>) -> Result<(), Failure> {
    let word = value.get("status").map(|status| status.as_str().unwrap_or_default());
    match word.map(status_of) {
        Some(Some(TrialStatus::Succeeded)) => Ok(()),
        Some(Some(TrialStatus::Failed)) => {
            let words = words_of_failure(value).unwrap_or("the run says that it failed, and not why");
            Err(failure(FailureClass::UserCode, words.to_owned()))
        }
        Some(Some(TrialStatus::Cancelled | TrialStatus::Skipped | TrialStatus::Pruned) | None) => {
            let why = words_of_failure(value).map(|words| format!(": {words}")).unwrap_or_default();
            let what = format!("the run ended with status {}{why}", value["status"]);
            Err(failure(FailureClass::UserCode, what))
        }
        None => Err(failure(
            FailureClass::ParseError,
            "the result of the run: status is missing; expected \"success\", or \"failed\" with an error"
                .to_owned(),
        )),
    }
}

/// 4: the best model, under either of its names.
fn best_model(value: &Map<String, Value>) -> Result<Value, String> {
    let named = ["best_model", "best_architecture"].into_iter().find_map(|name| value.get(name));
    match named {
        Some(model @ Value::Object(_)) => Ok(model.clone()),
        Some(other) => Err(format!("best_model is {}, not an object", kind(other))),
        None => Err("best_model (or best_architecture) is missing".to_owned()),
    }
}

/// 5: a number one can compare runs by.
fn best_metric(value: &Map<String, Value>) -> Result<f64, String> {
    match value.get("best_metric") {
        None => Err("best_metric is missing".to_owned()),
        Some(metric) => serde_json::from_value::<schemas::Real>(metric.clone())
            .map(|real| real.0)
            .map_err(|_| format!("best_metric is {}, not a number", kind(metric))),
    }
}

/// 6: how many trials there were; known without it when they were told of one by one.
fn completed_trials(value: &Map<String, Value>, counted: u32) -> Result<u32, String> {
    match value.get("completed_trials") {
        None if counted > 0 => Ok(counted),
        None => Err("completed_trials is missing".to_owned()),
        Some(count) => count
            .as_u64()
            .and_then(|count| u32::try_from(count).ok())
            .ok_or_else(|| format!("completed_trials is {count}, not a whole number from 0")),
    }
}

/// 7 and 8: lists; none when absent.
fn list(value: &Map<String, Value>, name: &str) -> Result<Value, String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(json!([])),
        Some(list @ Value::Array(_)) => Ok(list.clone()),
        Some(other) => Err(format!("{name} is {}, not a list", kind(other))),
    }
}

/// 9: an object; empty when absent.
fn object(value: &Map<String, Value>, name: &str) -> Result<Value, String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(json!({})),
        Some(object @ Value::Object(_)) => Ok(object.clone()),
        Some(other) => Err(format!("{name} is {}, not an object", kind(other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn failure(class: FailureClass, what: String) -> Failure {
    Failure::new(class, Stage::Execute, what)
}

impl Told {
    /// What the end of the run has to warn of.
    pub fn remarks(&self, counted: u32, max_trials: u32) -> Vec<String> {
        let mut remarks = self.left_out.clone();
        let claimed = self.completed_trials;
        if counted > 0 && claimed != counted {
            remarks.push(format!(
                "the result says {claimed} trials, and {counted} were reported; the latter count"
            ));
        }
        if counted == 0 && claimed > max_trials {
            remarks.push(format!(
                "the result says {claimed} trials, more than budget.max_trials ({max_trials})"
            ));
        }
        remarks
    }

    /// Leaves out what would not fit into the events of the end.
    fn shorten(&mut self) {
        if size(&self.best_model) > MAX_MODEL_BYTES {
            self.best_model = json!({});
            self.left_out.push(too_large("best_model", MAX_MODEL_BYTES));
        }
        if size(&self.metadata) > MAX_METADATA_BYTES {
            self.metadata = json!({});
            self.left_out.push(too_large("metadata", MAX_METADATA_BYTES));
        }
        if self.artifacts.len() > MAX_ARTIFACTS {
            self.artifacts.truncate(MAX_ARTIFACTS);
            self.left_out.push(format!("artifacts: the first {MAX_ARTIFACTS} are told"));
        }
        if size(&self.population_history) > MAX_HISTORY_BYTES {
            self.population_history = thinned(&self.population_history);
            self.left_out.push(too_large("population_history", MAX_HISTORY_BYTES));
        }
    }
}

/// Every n-th generation and the last, as few as it takes.
fn thinned(history: &Value) -> Value {
    let Some(generations) = history.as_array() else { return json!([]) };
    let mut step = 2;
    while step < generations.len() {
        let last = generations.len() - 1;
        let kept = generations.iter().enumerate().filter(|(index, _)| index % step == 0 || *index == last);
        let kept = Value::Array(kept.map(|(_, generation)| generation.clone()).collect());
        if size(&kept) <= MAX_HISTORY_BYTES {
            return kept;
        }
        step *= 2;
    }
    json!([])
}

fn too_large(name: &str, limit: usize) -> String {
    format!(
        "{name} of the result is shortened or left out: more than {} KiB as JSON; save it as an artefact",
        limit / 1024
    )
}

fn size(value: &Value) -> usize {
    value.to_string().len()
}

#[cfg(test)]
mod tests;

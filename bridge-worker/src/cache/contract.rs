//! The key of a result: the hash of everything that determines it.
//!
//! Pure.

use schemas::event::RunRequested;
use search::Proposal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Environment;
use crate::plan::RunPlan;

/// Another number makes every result kept so far another contract's.
const VERSION: u32 = 2;

/// Hash of a contract.
pub type Key = [u8; 32];

/// What determines the result of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contract {
    /// Its hash.
    pub key: Key,
    /// Part of it is code that may be edited at any time.
    pub needs_code: bool,
}

/// The contract of a trial; `None` when what determines its result is not known.
pub fn contract(plan: &RunPlan, proposal: &Proposal, environment: &Environment) -> Option<Contract> {
    let is_ours = search::TRAINERS.contains(&plan.request.trainer.as_str());
    let code = match (&environment.code, is_ours) {
        (_, true) => "",
        (Some(code), false) => code.as_str(),
        (None, false) => return None,
    };
    let contract = json!({
        "version": VERSION,
        "request": determining(&plan.request),
        "run_seed": plan.seed,
        "number": proposal.number,
        "seed": proposal.seed,
        "parameters": Value::from(proposal.candidate.parameters.clone()),
        "max_trial_seconds": plan.max_trial_seconds,
        "dataset": plan.dataset.as_ref().map(|dataset| json!([dataset.name, dataset.sha256])),
        "runtime": environment.runtime,
        "code": code,
    });
    let key = Sha256::digest(canonical(contract).to_string()).into();
    Some(Contract { key, needs_code: !is_ours })
}

/// The request without what only names, files or orders it.
fn determining(request: &RunRequested) -> Value {
    let named = RunRequested {
        run_id: None,
        correlation_id: None,
        experiment: None,
        tags: Default::default(),
        priority: 0,
        ..request.clone()
    };
    serde_json::to_value(named).expect("a request is plain data")
}

/// Objects with their keys in order: how a spec was written down does not change what it says.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> =
                fields.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use schemas::RunId;
    use search::Search;

    use super::*;
    use crate::plan::{Allowed, plan};

    fn environment(code: Option<&str>) -> Environment {
        Environment { runtime: "python3 runtime-1".to_owned(), code: code.map(str::to_owned) }
    }

    fn key_of(run: &str, change: Value) -> Option<Key> {
        let mut body = json!({"dataset_id": "digits", "trainer": "mine:train", "seed": 7,
            "search_space": {"x": [1, 2], "y": [3]}, "pulse_id": "p"});
        body.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
        let request: RunRequested = serde_json::from_value(body).unwrap();
        let allowed = Allowed { entrypoints: vec!["*".to_owned()], has_script: false };
        let plan = plan(&RunId::parse(run).unwrap(), &request, &allowed).unwrap();
        let proposal = Search::new(plan.search().unwrap().clone()).unwrap().propose().unwrap();
        contract(&plan, &proposal, &environment(Some("c0de"))).map(|contract| contract.key)
    }

    #[test]
    fn equal_requests_have_the_same_key_whatever_they_are_called() {
        let key = key_of("one", json!({}));
        assert!(key.is_some());
        assert_eq!(key, key_of("two", json!({})));
        assert_eq!(key, key_of("two", json!({"tags": {"a": "b"}, "experiment": "e", "priority": 5})));
        assert_eq!(
            key,
            key_of("two", json!({"search_space": {"y": [3], "x": [1, 2]}})),
            "order says nothing"
        );
    }

    #[test]
    fn whatever_determines_a_result_changes_the_key() {
        let mut keys: Vec<_> = [
            json!({}),
            json!({"pulse_id": "q"}),
            json!({"seed": 8}),
            json!({"objective": "loss"}),
            json!({"dataset_id": "iris"}),
            json!({"trainer": "mine:other"}),
            json!({"search_space": {"x": [1, 2], "y": [4]}}),
            json!({"parameters": {"mutation_rate": 0.5}}),
            json!({"budget": {"max_trial_seconds": 5.0}}),
        ]
        .into_iter()
        .map(|change| key_of("one", change).unwrap())
        .collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn code_that_is_not_known_makes_no_key_but_for_our_own_trainers() {
        let allowed = Allowed { entrypoints: vec!["*".to_owned()], has_script: false };
        let contract_of = |trainer: &str, environment| {
            let body = json!({"dataset_id": "digits", "trainer": trainer, "search_space": {"x": [1]}});
            let request: RunRequested = serde_json::from_value(body).unwrap();
            let plan = plan(&RunId::parse("r").unwrap(), &request, &allowed).unwrap();
            let proposal = Search::new(plan.search().unwrap().clone()).unwrap().propose().unwrap();
            contract(&plan, &proposal, &environment)
        };
        assert_eq!(contract_of("mine:train", environment(None)), None);
        assert_ne!(
            contract_of("mine:train", environment(Some("a"))),
            contract_of("mine:train", environment(Some("b")))
        );
        assert_eq!(contract_of("noop", environment(None)), contract_of("noop", environment(Some("b"))));
        assert!(contract_of("mine:train", environment(Some("a"))).unwrap().needs_code);
        assert!(!contract_of("noop", environment(None)).unwrap().needs_code);
    }
}

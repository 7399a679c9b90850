//! What a script is asked, in the words of the interface: `{"op", "payload"}` and a few variables.
//!
//! Pure. Existing scripts know these words; nothing is changed here without need.

use serde_json::{Value, json};

use crate::child::protocol::{Call, SearchArguments};

/// Above this the payload goes by standard input alone: Linux takes no variable of more than 128 KiB, its name included.
const MAX_VARIABLE_BYTES: usize = 96 * 1024;
/// Module under which requests name the operator's script: `script:OP`.
const SCRIPT: &str = "script";
/// The operation of a whole search.
pub(crate) const RUN_NAS: &str = "run_nas";
/// The same in older scripts, which find the fields of a started run beside `spec` and `opts`.
pub(crate) const START_RUN: &str = "start_run";
/// Fields of a started run.
const OF_STARTED_RUN: [&str; 11] = [
    "run_id",
    "timestamp",
    "dataset_id",
    "search_space",
    "objective",
    "pulse_id",
    "budget",
    "parameters",
    "tau",
    "correlation_id",
    "extra",
];

/// What a script is asked.
#[derive(Debug)]
pub(super) struct Question {
    /// What follows `--bridge-op`.
    pub(super) op: String,
    /// What it reads.
    pub(super) text: Vec<u8>,
    /// Variables of its environment.
    pub(super) variables: Vec<(&'static str, String)>,
}

/// True when an entry point is the operator's script.
pub(crate) fn names_script(entry: &str) -> bool {
    entry.split_once(':').is_some_and(|(module, _)| module == SCRIPT)
}

/// The operation an entry point stands for.
pub(crate) fn operation(entry: &str) -> &str {
    match entry.split_once(':') {
        Some((SCRIPT, op)) => op,
        Some(_) | None => RUN_NAS,
    }
}

/// A call as a question.
pub(super) fn ask(call: &Call) -> serde_json::Result<Question> {
    let op = call.op.to_string();
    let payload = match &call.search {
        Some(arguments) => search_payload(&call.entry, &op, arguments),
        None => json!({"entry": call.entry, "params": call.params, "trial": call.trial}),
    };
    let text = serde_json::to_vec(&json!({"op": op, "payload": payload}))?;
    let mut variables = vec![
        ("CEREBROS_BRIDGE_OP", op.clone()),
        ("CEREBROS_BRIDGE_RUN_ID", call.trial.run_id.clone()),
        ("CEREBROS_BRIDGE_CORRELATION", call.trial.correlation_id.clone()),
        ("CEREBROS_BRIDGE_STATUS", "running".to_owned()),
    ];
    if call.search.is_none() {
        variables.push(("CEREBROS_BRIDGE_TRIAL_ID", call.trial.trial_id.clone()));
    }
    if text.len() < MAX_VARIABLE_BYTES {
        variables.push(("CEREBROS_BRIDGE_PAYLOAD", String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(Question { op, text, variables })
}

fn search_payload(entry: &str, op: &str, arguments: &SearchArguments) -> Value {
    let mut payload = json!({"spec": arguments.spec, "opts": arguments.opts});
    if !names_script(entry) {
        payload["entrypoint"] = entry.into();
    }
    if op == START_RUN {
        for name in OF_STARTED_RUN {
            let field = arguments.spec.get(name).filter(|value| !value.is_null());
            let field = field.or_else(|| arguments.opts.get(name)).unwrap_or(&Value::Null);
            payload[name] = field.clone();
        }
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::protocol::TrialContext;

    fn call(entry: &str, params: Value, search: Option<SearchArguments>) -> Call {
        let op = if search.is_some() { operation(entry).to_owned() } else { "train".to_owned() };
        let trial = TrialContext {
            run_id: "r".to_owned(),
            correlation_id: "c".to_owned(),
            trial_id: "r-t00001".to_owned(),
            ..TrialContext::default()
        };
        Call { id: 1, op: op.into(), entry: entry.to_owned(), params, trial, search }
    }

    fn search() -> Option<SearchArguments> {
        Some(SearchArguments {
            spec: json!({"dataset_id": "mnist"}),
            opts: json!({"run_id": "r", "tau": 1.0}),
        })
    }

    fn variable<'a>(question: &'a Question, name: &str) -> Option<&'a str> {
        let is_it = |(known, _): &&(&str, String)| *known == name;
        question.variables.iter().find(is_it).map(|(_, value)| value.as_str())
    }

    fn payload(question: &Question) -> Value {
        serde_json::from_slice::<Value>(&question.text).unwrap()["payload"].clone()
    }

    #[test]
    fn a_search_is_asked_with_spec_and_opts_and_a_trial_with_its_candidate() {
        let question = ask(&call("script:run_nas", Value::Null, search())).unwrap();
        assert_eq!(question.op, "run_nas");
        assert_eq!(payload(&question)["spec"]["dataset_id"], "mnist");
        assert_eq!(variable(&question, "CEREBROS_BRIDGE_CORRELATION"), Some("c"));
        assert_eq!(variable(&question, "CEREBROS_BRIDGE_TRIAL_ID"), None);
        let question = ask(&call("mlp", json!({"x": 1}), None)).unwrap();
        assert_eq!((question.op.as_str(), &payload(&question)["params"]["x"]), ("train", &json!(1)));
        assert_eq!(variable(&question, "CEREBROS_BRIDGE_TRIAL_ID"), Some("r-t00001"));
    }

    #[test]
    fn an_older_script_finds_the_fields_of_a_started_run() {
        let question = ask(&call("script:start_run", Value::Null, search())).unwrap();
        assert_eq!(question.op, "start_run");
        let payload = payload(&question);
        assert_eq!((&payload["run_id"], &payload["dataset_id"]), (&json!("r"), &json!("mnist")));
        assert!(OF_STARTED_RUN.iter().all(|name| payload.get(name).is_some()));
    }

    #[test]
    fn an_entry_point_of_a_module_is_told_to_the_script() {
        let question = ask(&call("my_search:run_nas", Value::Null, search())).unwrap();
        assert_eq!(
            (question.op.as_str(), &payload(&question)["entrypoint"]),
            ("run_nas", &json!("my_search:run_nas"))
        );
    }

    #[test]
    fn a_large_payload_goes_by_standard_input_alone() {
        let small = ask(&call("mlp", json!({"x": "a".repeat(1000)}), None)).unwrap();
        assert_eq!(variable(&small, "CEREBROS_BRIDGE_PAYLOAD").map(str::as_bytes), Some(&small.text[..]));
        let large = ask(&call("mlp", json!({"x": "a".repeat(MAX_VARIABLE_BYTES)}), None)).unwrap();
        assert_eq!(variable(&large, "CEREBROS_BRIDGE_PAYLOAD"), None);
        assert!(large.text.len() > MAX_VARIABLE_BYTES);
    }
}

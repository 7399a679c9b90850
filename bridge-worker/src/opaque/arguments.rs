//! What `run_nas(spec, opts)` is called with.
//!
//! Pure.

use schemas::Timestamp;
use schemas::event::TrialReported;
use serde_json::{Value, json};

use crate::child::protocol::SearchArguments;
use crate::plan::RunPlan;

/// Known trials are told up to this size; a function is told no parameters of more of them.
const MAX_KNOWN_BYTES: usize = 2 << 20;

/// The arguments of an attempt that finds `known` trials.
pub(super) fn arguments(
    plan: &RunPlan,
    attempt: u32,
    known: &[TrialReported],
    now: Timestamp,
) -> SearchArguments {
    let request = &plan.request;
    let mut spec = serde_json::to_value(request).expect("a request is plain data");
    spec["run_id"] = plan.run_id.as_str().into();
    spec["seed"] = plan.seed.into();
    spec["direction"] = plan.direction.as_str().into();
    let opts = json!({
        "run_id": plan.run_id,
        "attempt": attempt,
        "budget": request.budget,
        "parameters": request.parameters,
        "tau": request.tau,
        "pulse_id": request.pulse_id,
        "correlation_id": plan.correlation_id(),
        "seed": plan.seed,
        "timestamp": now,
        "resumed_trials": resumed(known),
    });
    SearchArguments { spec, opts }
}

fn resumed(known: &[TrialReported]) -> Vec<Value> {
    let mut left = MAX_KNOWN_BYTES;
    known
        .iter()
        .map(|trial| {
            let mut told = json!({"number": trial.number, "status": trial.status, "metrics": trial.metrics});
            let size = trial.parameters.0.to_string().len();
            if size <= left {
                left -= size;
                told["parameters"] = trial.parameters.0.clone();
            }
            told
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use schemas::event::{RunRequested, TrialStatus};
    use schemas::{Json, RunId, TrialId};

    use super::*;
    use crate::plan::{Allowed, plan};

    #[test]
    fn the_function_is_told_the_request_its_run_and_what_is_known() {
        let run = RunId::parse("r").unwrap();
        let body = json!({"dataset_id": "mnist", "entrypoint": "mine:run_nas", "tau": 0.5,
            "search_space": {"layers": [1, 2]}, "budget": {"max_trials": 3}, "pulse_id": "p"});
        let request: RunRequested = serde_json::from_value(body).unwrap();
        let allowed = Allowed { entrypoints: vec!["mine:*".to_owned()], has_script: false };
        let plan = plan(&run, &request, &allowed).unwrap();
        let known = |number: u32, size| TrialReported {
            number: Some(number),
            parameters: Json(json!({"x": "x".repeat(size)})),
            ..TrialReported::new(run.clone(), TrialId::numbered(&run, number.into()), TrialStatus::Succeeded)
        };
        let trials = [known(0, 10), known(1, MAX_KNOWN_BYTES), known(2, 10)];
        let told = arguments(&plan, 2, &trials, Timestamp::from_micros(0));
        assert_eq!(
            (&told.spec["dataset_id"], &told.spec["search_space"]["layers"][1]),
            (&json!("mnist"), &json!(2))
        );
        assert_eq!((&told.opts["run_id"], &told.opts["correlation_id"]), (&json!("r"), &json!("r")));
        assert_eq!((&told.opts["budget"]["max_trials"], &told.opts["tau"]), (&json!(3), &json!(0.5)));
        let resumed = told.opts["resumed_trials"].as_array().unwrap();
        assert_eq!(resumed.len(), 3);
        let has_parameters = |index: usize| resumed[index].get("parameters").is_some();
        assert!(has_parameters(0) && !has_parameters(1) && has_parameters(2));
    }
}

//! What `run_nas(spec, opts)` is called with.
//!
//! Pure.

use schemas::Timestamp;
use serde_json::json;

use super::known::Known;
use crate::child::protocol::SearchArguments;
use crate::plan::RunPlan;

/// The arguments of an attempt that finds `known` trials.
pub(super) fn arguments(plan: &RunPlan, attempt: u32, known: &Known, now: Timestamp) -> SearchArguments {
    let (resumed, left_out) = known.told();
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
        "resumed_trials": resumed,
        "resumed_trials_left_out": left_out,
    });
    SearchArguments { spec, opts }
}

#[cfg(test)]
mod tests {
    use schemas::event::{RunRequested, TrialReported, TrialStatus};
    use schemas::{Real, RunId, TrialId};

    use super::*;
    use crate::child::protocol::MAX_FRAME_BYTES;
    use crate::plan::{Allowed, plan};

    #[test]
    fn a_call_after_ten_thousand_trials_of_fifty_metrics_fits_into_a_message() {
        let run = RunId::parse("r").unwrap();
        // As much as a request may be.
        let body = json!({"dataset_id": "mnist", "entrypoint": "mine:run_nas",
            "parameters": {"prior": "x".repeat(500_000)}});
        let request: RunRequested = serde_json::from_value(body).unwrap();
        let allowed = Allowed { entrypoints: vec!["mine:*".to_owned()], has_script: false };
        let plan = plan(&run, &request, &allowed).unwrap();
        let mut known = Known::new(plan.direction, "accuracy");
        for number in 0..10_000 {
            let metrics = (0..50).map(|n| (format!("metric_{n}"), Real(f64::from(number) / 7.0))).collect();
            let id = TrialId::numbered(&run, number.into());
            let trial = TrialReported::new(run.clone(), id, TrialStatus::Succeeded);
            known.push(TrialReported { number: Some(number), metrics, ..trial });
        }
        let told = arguments(&plan, 2, &known, Timestamp::from_micros(0));
        let bytes = serde_json::to_vec(&told).unwrap().len();
        assert!(bytes < MAX_FRAME_BYTES - (1 << 20), "{bytes} bytes");
        assert!(told.opts["resumed_trials_left_out"].as_u64().unwrap() > 1_000);
    }

    #[test]
    fn the_function_is_told_the_request_its_run_and_what_is_known() {
        let run = RunId::parse("r").unwrap();
        let body = json!({"dataset_id": "mnist", "entrypoint": "mine:run_nas", "tau": 0.5,
            "search_space": {"layers": [1, 2]}, "budget": {"max_trials": 3}, "pulse_id": "p"});
        let request: RunRequested = serde_json::from_value(body).unwrap();
        let allowed = Allowed { entrypoints: vec!["mine:*".to_owned()], has_script: false };
        let plan = plan(&run, &request, &allowed).unwrap();
        let mut known = Known::new(plan.direction, "accuracy");
        for number in [0, 1] {
            let id = TrialId::numbered(&run, number.into());
            let trial = TrialReported::new(run.clone(), id, TrialStatus::Succeeded);
            known.push(TrialReported { number: Some(number), ..trial });
        }
        let told = arguments(&plan, 2, &known, Timestamp::from_micros(0));
        assert_eq!(
            (&told.spec["dataset_id"], &told.spec["search_space"]["layers"][1]),
            (&json!("mnist"), &json!(2))
        );
        assert_eq!((&told.opts["run_id"], &told.opts["correlation_id"]), (&json!("r"), &json!("r")));
        assert_eq!((&told.opts["budget"]["max_trials"], &told.opts["tau"]), (&json!(3), &json!(0.5)));
        assert_eq!(told.opts["resumed_trials"].as_array().unwrap().len(), 2);
        assert_eq!(told.opts["resumed_trials_left_out"], json!(0));
    }
}

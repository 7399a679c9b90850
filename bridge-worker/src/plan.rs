//! From a request to a plan that can be executed here, or the reason why it never can.
//!
//! Pure. What is refused here is refused for good: the same request on the same worker will never run.

mod allowed;

use std::time::Duration;

use schemas::dataset::DatasetRef;
use schemas::event::{Direction, RunRequested};
use schemas::{Failure, FailureClass, RunId, Stage};
use search::{Plan, SearchSpace, Settings};

use crate::datasets::Located;

pub use allowed::Allowed;
use allowed::{check_search, check_trainer};

/// Limit of one trial when the request sets none; a run of days may have it, a hang must not be endless.
pub const DEFAULT_MAX_TRIAL_SECONDS: f64 = 24.0 * 3600.0;

/// A request, understood.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The run.
    pub run_id: RunId,
    /// The request as it came, with every default filled in.
    pub request: RunRequested,
    /// Which way the objective is better.
    pub direction: Direction,
    /// Seed of the search.
    pub seed: u64,
    /// Who searches.
    pub work: Work,
    /// Limit of one trial in seconds.
    pub max_trial_seconds: f64,
    /// The file to train on, once it was found; none while the data set is a bundled one.
    pub dataset: Option<Located>,
}

/// Who searches.
#[derive(Debug, Clone)]
pub enum Work {
    /// We do: one call for each candidate. What the search is a function of.
    Search(Box<Plan>),
    /// The user's own `run_nas(spec, opts)`, in one call. Its entry point.
    Opaque(String),
}

impl RunPlan {
    /// True when trials may be stopped for what they report on the way.
    pub fn prunes(&self) -> bool {
        match &self.work {
            Work::Search(search) => search.settings.pruning.is_active(),
            Work::Opaque(_) => false,
        }
    }

    /// What the search is a function of, when it is ours.
    pub fn search(&self) -> Option<&Plan> {
        match &self.work {
            Work::Search(search) => Some(search),
            Work::Opaque(_) => None,
        }
    }

    /// How long one trial may take.
    pub fn trial_limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.max_trial_seconds).unwrap_or(Duration::MAX)
    }

    /// The identity that follows the request; the run's own when it brings none.
    pub fn correlation_id(&self) -> String {
        self.request.correlation_id.clone().unwrap_or_else(|| self.run_id.to_string())
    }
}

/// Reads a request as a plan.
///
/// # Errors
/// A failure of stage validate that names the path and what there is.
pub fn plan(run_id: &RunId, request: &RunRequested, allowed: &Allowed) -> Result<RunPlan, Failure> {
    let direction = request.direction.unwrap_or_else(|| match search::direction_of(&request.objective) {
        search::Direction::Maximize => Direction::Maximize,
        search::Direction::Minimize => Direction::Minimize,
    });
    let seed = request.seed.map_or_else(|| search::seed_from_run_id(run_id.as_str()), i64::unsigned_abs);
    let work = match &request.entrypoint {
        // What its data set, search space and parameters mean is the function's own business.
        Some(entry) => Work::Opaque(check_search(entry, allowed)?),
        None => Work::Search(Box::new(plan_search(request, allowed, direction, seed)?)),
    };
    let max_trial_seconds =
        request.budget.max_trial_seconds.map_or(DEFAULT_MAX_TRIAL_SECONDS, |limit| limit.0);
    Ok(RunPlan {
        run_id: run_id.clone(),
        request: request.clone(),
        direction,
        seed,
        work,
        max_trial_seconds,
        dataset: None,
    })
}

fn plan_search(
    request: &RunRequested,
    allowed: &Allowed,
    direction: Direction,
    seed: u64,
) -> Result<Plan, Failure> {
    check_dataset(&request.dataset_id)?;
    check_trainer(&request.trainer, allowed)?;
    let space = SearchSpace::parse(&request.search_space.0, &request.trainer)
        .map_err(|error| invalid(error.to_string()))?;
    let settings = Settings::from_request(
        seed,
        match direction {
            Direction::Maximize => search::Direction::Maximize,
            Direction::Minimize => search::Direction::Minimize,
        },
        Some(request.budget.population_size.into()),
        &request.parameters.0,
        Some(request.tau.0),
    )
    .map_err(|error| invalid(error.to_string()))?;
    let plan = Plan {
        space,
        strategy: request.strategy.clone(),
        settings,
        max_trials: request.budget.max_trials.into(),
        lag: request.budget.max_parallelism().into(),
    };
    search::Search::new(plan.clone()).map_err(|error| invalid(format!("at `{}`: {error}", error.path())))?;
    Ok(plan)
}

fn check_dataset(name: &str) -> Result<(), Failure> {
    DatasetRef::parse(name).map(drop).map_err(|error| invalid(format!("at `dataset_id`: {error}")))
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(FailureClass::Validation, Stage::Validate, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn planned(body: serde_json::Value) -> Result<RunPlan, Failure> {
        let request: RunRequested = serde_json::from_value(body).unwrap();
        let entrypoints = vec!["trusted.*:train".into(), "mine:run_nas".into()];
        let allowed = Allowed { entrypoints, has_script: true };
        plan(&RunId::parse("r").unwrap(), &request, &allowed)
    }

    #[test]
    fn a_bare_data_set_becomes_a_plan() {
        let plan = planned(json!({"dataset_id": "digits"})).unwrap();
        let Work::Search(search) = &plan.work else { panic!("{plan:?}") };
        assert_eq!((search.max_trials, search.lag, plan.direction), (10, 4, Direction::Maximize));
        assert_eq!(plan.seed, planned(json!({"dataset_id": "digits"})).unwrap().seed);
    }

    #[test]
    fn what_can_never_run_is_refused_with_its_path() {
        for (body, path) in [
            (json!({"dataset_id": "mnist"}), "dataset_id"),
            (json!({"dataset_id": "../x.csv"}), "dataset_id"),
            (json!({"dataset_id": "digits", "strategy": "gaa"}), "strategy"),
            (json!({"dataset_id": "digits", "trainer": "keras"}), "trainer"),
            (json!({"dataset_id": "digits", "search_space": {"layers": []}}), "search_space.layers"),
            (json!({"dataset_id": "digits", "parameters": {"mutation_rate": 7}}), "parameters.mutation_rate"),
        ] {
            let failure = planned(body).unwrap_err();
            assert_eq!((failure.class, failure.stage), (FailureClass::Validation, Stage::Validate));
            assert!(failure.message.contains(path), "{}", failure.message);
        }
    }

    #[test]
    fn pruning_is_part_of_the_plan_and_refused_with_its_path() {
        let with = |pruner: serde_json::Value| {
            planned(json!({"dataset_id": "digits", "parameters": {"pruner": pruner}}))
        };
        assert!(!with(json!(null)).unwrap().prunes());
        assert!(with(json!("median")).unwrap().prunes());
        let failure = with(json!({"name": "median", "startup_trials": -1})).unwrap_err();
        assert_eq!((failure.class, failure.stage), (FailureClass::Validation, Stage::Validate));
        assert!(failure.message.contains("parameters.pruner.startup_trials"), "{}", failure.message);
    }

    #[test]
    fn code_named_in_a_request_needs_the_operator_s_word() {
        let space = json!({"x": [1, 2]});
        let failure = planned(json!({"dataset_id": "iris", "trainer": "os:system", "search_space": space}))
            .unwrap_err();
        assert_eq!(failure.class, FailureClass::EntrypointRefused);
        planned(json!({"dataset_id": "iris", "trainer": "trusted.net:train", "search_space": space}))
            .unwrap();
    }

    #[test]
    fn a_search_of_the_user_s_own_needs_the_operator_s_word_and_nothing_else_about_it_is_ours_to_judge() {
        let with = |entry: &str| {
            planned(json!({"dataset_id": "mnist", "entrypoint": entry, "search_space": {"layers": []}}))
        };
        for entry in ["mine:run_nas", "script:run_nas", "script:start_run"] {
            assert!(matches!(with(entry).unwrap().work, Work::Opaque(allowed) if allowed == entry));
        }
        for entry in ["os:system", "mine:other", "script:finalize_run"] {
            let failure = with(entry).unwrap_err();
            assert_eq!((failure.class, failure.stage), (FailureClass::EntrypointRefused, Stage::Validate));
            assert!(failure.message.contains(entry) && failure.message.contains("--allow-entrypoint"));
        }
        let all = Allowed { entrypoints: vec!["*".to_owned()], has_script: false };
        for entry in ["mine", "", ":", "a b:c", "mine:run nas", "../mine:run_nas"] {
            assert_eq!(check_search(entry, &all).unwrap_err().class, FailureClass::Validation, "{entry}");
        }
    }
}

//! What types and ranges cannot say: does this data set exist, can this space be searched.
//!
//! The same questions a worker asks before it runs a request, asked before it is published.

use schemas::dataset::{BUNDLED, DatasetError, DatasetRef, Place};
use schemas::event::{Direction, RunRequested};
use search::{SearchSpace, Settings};

use super::finding::Finding;
use super::known::nearest;

/// Everything that makes this request one that no worker can run. Of a request that is `partial`, because some
/// fields were faulty and left out, only what does not depend on several fields is checked.
pub(super) fn check(request: &RunRequested, is_partial: bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(check_dataset(request));
    findings.extend(check_function("entrypoint", request.entrypoint.as_deref()));
    if request.entrypoint.is_some() {
        // An opaque run brings its own search: the fields below mean what its author says.
        return findings;
    }
    findings.extend(check_trainer(&request.trainer));
    findings.extend(check_strategy(&request.strategy));
    if findings.iter().all(|finding| finding.path != "trainer") {
        findings.extend(check_space(request));
    }
    if !is_partial {
        findings.extend(check_settings(request));
    }
    findings
}

/// What depends on the worker that takes the request.
pub(super) fn notes(request: &RunRequested) -> Vec<String> {
    let allowed = |what: &str, function: &str| {
        format!("{what} {function} runs only on a worker started with --allow-entrypoint for it")
    };
    let mut notes = Vec::new();
    notes.extend(request.entrypoint.as_ref().map(|function| allowed("entrypoint", function)));
    if request.entrypoint.is_none() && request.trainer.contains(':') {
        notes.push(allowed("trainer", &request.trainer));
    }
    match DatasetRef::parse(&request.dataset_id).map(|dataset| dataset.place) {
        Ok(Place::File(path)) => notes
            .push(format!("{path} is looked for in the data set directory of the worker that takes the run")),
        Ok(Place::Artifact(object)) => {
            notes.push(format!(
                "{object} is fetched from the artefact store by the worker that takes the run"
            ));
        }
        Ok(Place::Bundled(_)) | Err(_) => {}
    }
    notes
}

fn check_dataset(request: &RunRequested) -> Option<Finding> {
    let error = DatasetRef::parse(&request.dataset_id).err()?;
    let (code, help) = match &error {
        DatasetError::Outside { .. } => ("dataset-path", None),
        DatasetError::Checksum { .. } => ("dataset-checksum", None),
        DatasetError::Unknown { .. } if request.entrypoint.is_some() => return None,
        DatasetError::Unknown { name } => ("unknown-dataset", nearest(name, &BUNDLED)),
    };
    let finding = Finding::new(code, "dataset_id", error.to_string());
    Some(match help {
        Some(name) => finding.help(format!("did you mean \"{name}\"?")),
        None => finding,
    })
}

fn check_trainer(trainer: &str) -> Option<Finding> {
    if trainer.contains(':') {
        return check_function("trainer", Some(trainer));
    }
    if search::TRAINERS.contains(&trainer) {
        return None;
    }
    let known = search::TRAINERS.join(", ");
    let reason = format!(
        "unknown trainer \"{trainer}\"; there are {known}, or `module:function` where a worker allows it"
    );
    let finding = Finding::new("unknown-trainer", "trainer", reason);
    Some(match nearest(trainer, search::TRAINERS) {
        Some(name) => finding.help(format!("did you mean \"{name}\"?")),
        None => finding,
    })
}

/// A function as Python names it: `package.module:function`.
fn check_function(path: &str, function: Option<&str>) -> Option<Finding> {
    let function = function?;
    let is_name = |name: &str| {
        name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && name.starts_with(|c: char| !c.is_ascii_digit())
    };
    let is_function = |(module, function): (&str, &str)| module.split('.').all(is_name) && is_name(function);
    if function.split_once(':').is_some_and(is_function) {
        return None;
    }
    let reason = format!("expected `module:function`, found \"{function}\"");
    Some(Finding::new("entrypoint-name", path, reason))
}

fn check_strategy(strategy: &str) -> Option<Finding> {
    if search::STRATEGIES.contains(&strategy) {
        return None;
    }
    let known = search::STRATEGIES.join(", ");
    let finding = Finding::new(
        "unknown-strategy",
        "strategy",
        format!("unknown strategy \"{strategy}\"; there are {known}"),
    );
    Some(match nearest(strategy, search::STRATEGIES) {
        Some(name) => finding.help(format!("did you mean \"{name}\"?")),
        None => finding,
    })
}

fn check_space(request: &RunRequested) -> Option<Finding> {
    let error = SearchSpace::parse(&request.search_space.0, &request.trainer).err()?;
    let reason = format!("expected {}, found {}", error.expected, error.found);
    Some(Finding::new("search-space", error.path, reason).help(error.help))
}

fn check_settings(request: &RunRequested) -> Option<Finding> {
    let direction = match request.direction {
        Some(Direction::Maximize) => search::Direction::Maximize,
        Some(Direction::Minimize) => search::Direction::Minimize,
        None => search::direction_of(&request.objective),
    };
    let population = Some(request.budget.population_size.into());
    let seed = request.seed.map_or(0, i64::unsigned_abs);
    let settings =
        Settings::from_request(seed, direction, population, &request.parameters.0, Some(request.tau.0));
    let error = settings.err()?;
    let reason = format!("expected {}, found {}", error.expected, error.found);
    Some(Finding::new("setting", error.path, reason).help(error.help))
}

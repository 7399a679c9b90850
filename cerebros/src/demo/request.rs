//! What the demo searches for.

use std::fs::File;
use std::io::{ErrorKind, Read};

use producer::spec::{self, Assignment, Spec};
use producer::submit::fresh_run_id;
use schemas::codec::MAX_EVENT_BYTES;
use schemas::event::RunRequested;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{note, warning};

/// Enough for the search to be seen at work, few enough for a coffee machine; the seed makes it the same everywhere.
const DEFAULT: &str = r#"{
    "dataset_id": "digits",
    "strategy": "ga",
    "budget": {"max_trials": 24, "population_size": 6, "parallelism": 2},
    "seed": 42
}"#;
/// Where its trials are filed unless the spec says otherwise.
const EXPERIMENT: &str = "cerebros demo";

/// The request of a spec, complete with run id and experiment.
///
/// # Errors
/// When the spec cannot be read, or cannot run.
pub(super) async fn read(given: Option<&str>, set: &[Assignment]) -> Result<RunRequested, CliError> {
    let text = match given {
        None => DEFAULT.to_owned(),
        Some(text) if text.trim_start().starts_with('{') => text.to_owned(),
        Some(path) => read_file(path.to_owned()).await?,
    };
    let Spec { mut request, warnings, notes } =
        spec::read(Some(&text), set).map_err(|findings| spec::refusal(&findings))?;
    warnings.iter().for_each(warning);
    notes.iter().for_each(note);
    request.run_id.get_or_insert_with(fresh_run_id);
    request.experiment.get_or_insert_with(|| EXPERIMENT.to_owned());
    Ok(request)
}

/// No further than one byte over the limit, which the spec's own check then reports.
async fn read_file(path: String) -> Result<String, CliError> {
    let unreadable = |error: std::io::Error| {
        let (code, exit) = if error.kind() == ErrorKind::NotFound {
            ("spec-missing", Exit::NotFound)
        } else if error.kind() == ErrorKind::PermissionDenied {
            ("spec-unreadable", Exit::Permission)
        } else {
            ("spec-unreadable", Exit::InvalidInput)
        };
        CliError::new(code, exit, format!("the spec {path} cannot be read"))
            .because(error)
            .help("SPEC is a file, or JSON that begins with {")
    };
    let owned = path.clone();
    let read = move || {
        let mut text = String::new();
        File::open(owned)?.take(MAX_EVENT_BYTES as u64 + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_default_is_a_reproducible_search() {
        let request = read(None, &[]).await.unwrap();
        assert_eq!((request.dataset_id.as_str(), request.seed), ("digits", Some(42)));
        assert_eq!((request.budget.max_trials, request.budget.parallelism), (24, Some(2)));
        assert!(request.run_id.is_some());
    }

    #[tokio::test]
    async fn a_spec_that_is_not_there_and_one_that_cannot_run_are_refused_before_anything_starts() {
        assert_eq!(read(Some("/no/such/spec.json"), &[]).await.unwrap_err().exit, Exit::NotFound);
        assert_eq!(
            read(Some(r#"{"dataset_id": "nonsense"}"#), &[]).await.unwrap_err().exit,
            Exit::InvalidInput
        );
    }
}

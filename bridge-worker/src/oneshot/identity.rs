//! Whether a run that is known under our run id is ours: a run id is one search, and somebody else's is not taken.

use schemas::RunId;
use schemas::event::RunRequested;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::history::History;
use service_kit::output;
use service_kit::registry::RunRecord;

use crate::asked::Asked;

/// What the ids of these processes begin with: the registry keeps who had a run last.
pub(super) const KIND: &str = "job";

/// A run that a process like this one has left behind goes on; anybody else's is not ours to take.
pub(super) fn known(record: &RunRecord, request: &RunRequested) -> Result<Asked, CliError> {
    let holder = record.worker_id.as_deref().unwrap_or("no worker yet");
    if !holder.starts_with(KIND) {
        return Err(elsewhere(&record.run_id, holder));
    }
    let asked = asked_before(record, request)?;
    output::note(format!("run {} goes on after attempt {}", record.run_id, record.attempt));
    // What the broker does for workers that serve: the holder before is late from now on.
    Ok(Asked { delivery: record.delivery + 1, ..asked })
}

/// What the run of a record was asked for with, which is what is asked for now.
pub(super) fn asked_before(record: &RunRecord, request: &RunRequested) -> Result<Asked, CliError> {
    let asked = Asked::remembered(record).ok_or_else(|| {
        CliError::new("spec-lost", Exit::InvalidInput, format!("the spec of run {} is lost", record.run_id))
            .help("give another --run-id")
    })?;
    check_spec(&asked, request).map(|()| asked)
}

/// One run id is one search: what came of another is no answer.
fn check_spec(asked: &Asked, request: &RunRequested) -> Result<(), CliError> {
    let spec = |request: &RunRequested| {
        let request = RunRequested { run_id: None, ..request.clone() };
        serde_json::to_value(request).expect("a request is plain data")
    };
    if spec(&asked.request) == spec(request) {
        return Ok(());
    }
    let what = format!("run {} was asked for with another spec; nothing was started", asked.run_id);
    Err(CliError::new("spec-differs", Exit::InvalidInput, what)
        .because(format!("`producer show {} -o json` shows the one it has", asked.run_id))
        .help("give another --run-id, or the spec as it was"))
}

/// A request under this run id that the broker has kept instead of ours, when that makes no difference.
pub(super) async fn published_before(
    broker: &Broker,
    run: &RunId,
    sequence: u64,
    request: &RunRequested,
) -> Result<Asked, CliError> {
    let mut history = History::to_the_present(broker, STREAM, &[], sequence).await?;
    let kept = history.next().await?.filter(|kept| kept.sequence == sequence);
    let asked = kept.and_then(|kept| Asked::found(&kept, STREAM, run)).ok_or_else(|| {
        let what = format!("run {run} was asked for before, and the broker has lost how");
        CliError::new("spec-lost", Exit::InvalidInput, what).help("give another --run-id")
    })?;
    if !asked.is_reserved() {
        return Err(elsewhere(run, "no worker yet"));
    }
    check_spec(&asked, request)?;
    // Another process may have been here: what it has left is read behind the fence.
    Ok(Asked { delivery: 2, ..asked })
}

fn elsewhere(run: &RunId, holder: &str) -> CliError {
    let what = format!("run {run} was submitted to the workers that serve ({holder})");
    CliError::new("run-elsewhere", Exit::InvalidInput, what)
        .help(format!("`producer watch {run}` follows it; give another --run-id"))
}

#[cfg(test)]
mod tests {
    use schemas::Json;
    use schemas::lifecycle::RunState;

    use super::*;

    #[test]
    fn only_a_run_of_a_process_like_this_goes_on_and_under_a_later_hand_over() {
        let mut record: RunRecord = serde_json::from_value(serde_json::json!({
            "run_id": "r", "state": "running", "attempt": 1, "dataset_id": "digits", "objective": "accuracy",
            "budget": {}, "spec": {"dataset_id": "digits"}, "request_sequence": 7, "delivery": 1,
            "first_sequence": 7, "worker_id": "job-1-abcdef", "requested_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap();
        assert_eq!(record.state, RunState::Running);
        let request = |spec| -> RunRequested { serde_json::from_value(spec).unwrap() };
        // A run id that is given on the command line is in no spec.
        let same = request(serde_json::json!({"dataset_id": "digits", "run_id": "r"}));
        let asked = known(&record, &same).unwrap();
        assert_eq!((asked.sequence, asked.delivery), (7, 2));
        let other = request(serde_json::json!({"dataset_id": "digits", "seed": 4}));
        assert_eq!(known(&record, &other).unwrap_err().code, "spec-differs");
        record.worker_id = Some("worker-1-abcdef".to_owned());
        assert_eq!(known(&record, &same).unwrap_err().code, "run-elsewhere");
        record.worker_id = Some("job-1-abcdef".to_owned());
        record.spec = Json(serde_json::json!("lost"));
        assert_eq!(known(&record, &same).unwrap_err().code, "spec-lost");
    }
}

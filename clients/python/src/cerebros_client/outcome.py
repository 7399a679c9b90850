"""How a run ended: from the event that says so, or from the registry when the stream has forgotten. Pure."""

from __future__ import annotations

from . import values
from .errors import RunCancelled, RunFailed
from .models import Event, JsonObject, Outcome, RunState, failure_of, known_fields


def of_event(event: Event) -> Outcome:
    """The outcome in a terminal event."""
    data = event.data
    return Outcome(
        **{
            **known_fields(Outcome, data),
            "run_id": event.run_id,
            "state": RunState(event.subject.rpartition(".")[2]),
            "attempt": data.get("attempt", 0),
            "failure": failure_of(data.get("failure")),
            "seq": event.seq,
        }
    )


def of_record(record: JsonObject) -> Outcome:
    """What the registry remembers of a run that is over."""
    state = RunState(record["state"])
    return Outcome(
        run_id=record["run_id"],
        state=state,
        attempt=record.get("attempt", 0),
        completed_trials=record.get("completed_trials", 0),
        failed_trials=record.get("failed_trials", 0),
        best_metric=values.number(record.get("best_metric")),
        best_trial_id=record.get("best_trial_id"),
        failure=failure_of(record.get("failure")),
        reason=record.get("cancel_requested") if state is RunState.CANCELLED else None,
    )


def successful(outcome: Outcome) -> Outcome:
    """The outcome of a run that completed.

    Raises:
        RunFailed, RunCancelled: It did not.
    """
    run = outcome.run_id
    again = f"`producer retry {run}` runs it again; what succeeded is not trained twice"
    if outcome.state is RunState.FAILED:
        failure = outcome.failure
        because = f"{failure.failure_class}: {failure.message}" if failure else None
        raise RunFailed(f"run {run} failed", outcome, because=because, help=again)
    if outcome.state is RunState.CANCELLED:
        raise RunCancelled(f"run {run} was cancelled", outcome, because=outcome.reason, help=again)
    return outcome

"""The trials of a run and where it stands, folded from its events alone. Pure.

A trial counts once, however often its event is seen; an older attempt changes nothing; a run that is asked
for again forgets the trials that failed or were cancelled.
"""

from __future__ import annotations

import math
from typing import Any

from .listing import Trial
from .models import Event, Failure, RunState, failure_of
from .subjects import INTERRUPTED, REQUESTED, STARTED, TRIAL

MAX_TRIALS = 100_000
"""Trials that are kept; the stream has them all."""


class Progress:
    """How far a run is."""

    def __init__(self) -> None:
        self.state = RunState.REQUESTED
        self.attempt = 0
        self.failure: Failure | None = None
        """Of a run that failed."""
        self._trials: dict[str, Event] = {}

    def apply(self, event: Event) -> None:
        """Takes the next event of the run."""
        attempt = event.data.get("attempt") or self.attempt
        is_asked_again = event.is_for_failed_trials or self.state is not RunState.COMPLETED
        is_restart = self.state.is_final and event.subject == STARTED and attempt > self.attempt
        if event.subject == REQUESTED:
            if self.state.is_final and is_asked_again:
                self._restart()
        elif attempt < self.attempt or (self.state.is_final and not is_restart):
            return
        elif event.subject == STARTED:
            if is_restart:
                self._restart()
            self.attempt, self.state = attempt, RunState.RUNNING
        elif event.subject == TRIAL:
            trial_id = event.data.get("trial_id")
            if isinstance(trial_id, str) and len(self._trials) < MAX_TRIALS:
                self._trials.setdefault(trial_id, event)
        elif event.is_terminal or event.subject == INTERRUPTED:
            self.state = RunState(event.subject.rpartition(".")[2])
            self.failure = failure_of(event.data.get("failure"))

    @property
    def failed_trials(self) -> int:
        """Trials that failed."""
        return sum(event.data.get("status") == "failed" for event in self._trials.values())

    def trials(self, objective: str) -> list[Trial]:
        """Every trial that ended, by number."""
        found = [_trial(event.data, objective) for event in self._trials.values()]
        return sorted(found, key=lambda trial: (trial.number is None, trial.number or 0, trial.trial_id))

    def _restart(self) -> None:
        self._trials = {
            trial_id: event
            for trial_id, event in self._trials.items()
            if event.data.get("status") not in ("failed", "cancelled")
        }
        self.state, self.failure = RunState.REQUESTED, None


def _trial(data: dict[str, Any], objective: str) -> Trial:
    metrics = data.get("metrics") or {}
    reached = metrics.get(objective)
    is_finite = isinstance(reached, float) and math.isfinite(reached)
    return Trial(
        trial_id=data["trial_id"],
        number=data.get("number"),
        status=data.get("status", ""),
        objective=reached if is_finite else None,
        attempt=data.get("attempt"),
        duration_ms=data.get("duration_ms"),
        metrics=metrics,
        parameters=data.get("parameters", {}),
        failure=failure_of(data.get("failure")),
        mlflow_run_id=data.get("mlflow_run_id"),
    )

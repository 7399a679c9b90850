"""What the client hands out about runs: summaries and details. Plain, frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .models import Failure, JsonObject, RunState


@dataclass(frozen=True)
class RunSummary:
    """A run, as ``producer list -o json`` prints it. Times are UTC."""

    run_id: str
    state: RunState
    dataset_id: str
    objective: str
    attempt: int
    completed_trials: int
    failed_trials: int
    max_trials: int | None
    """Most trials the run may start; None if nobody has asked for it yet."""
    best_metric: float | None
    best_trial_id: str | None
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    worker_id: str | None


@dataclass(frozen=True)
class Trial:
    """One trial of a run, as it ended."""

    trial_id: str
    number: int | None
    status: str
    """``succeeded``, ``failed``, ``skipped``, ``cancelled`` or ``pruned``."""
    objective: float | None
    """The metric the search optimises, if the trial reached a finite one."""
    attempt: int | None
    duration_ms: int | None
    metrics: dict[str, float]
    parameters: Any
    failure: Failure | None
    mlflow_run_id: str | None


@dataclass(frozen=True)
class RunDetails(RunSummary):
    """A run, laid open."""

    spec: JsonObject
    """The request, with every default filled in once a worker has taken it."""
    failures: int
    """Failed attempts."""
    interruptions: int
    """Attempts that ended with their machine, cleanly."""
    worker_losses: int
    """Attempts whose worker vanished."""
    running_trials: int
    """Trials under way, as its worker has last written down."""
    parallelism: int | None
    """Trials that may be under way at once; ``producer scale`` changes it."""
    ended_by: str | None
    """What ended the run: ``max_trials``, ``max_seconds``, ``cancelled``, a failure class, ..."""
    failure: Failure | None
    cancel_requested: str | None
    """Somebody asked for the end of the run, and why."""
    mlflow_run_id: str | None
    trials: list[Trial]

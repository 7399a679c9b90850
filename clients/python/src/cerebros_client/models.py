"""What the client hands out: states, events, failures, outcomes. Plain, frozen values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

from .times import iso

JsonObject = dict[str, Any]
"""A JSON object, as :mod:`json` reads it."""

_T = TypeVar("_T")


class RunState(str, enum.Enum):
    """Where a run stands."""

    REQUESTED = "requested"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """Its machine stopped; another worker goes on with it."""

    @property
    def is_final(self) -> bool:
        """True when nothing more happens to the run."""
        return self in (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED)

    def __str__(self) -> str:
        return self.value


class Submitted(str):
    """The run id of a submitted run: a text, which also says whether the run was there before."""

    sequence: int
    """Sequence of its request in the stream."""
    is_duplicate: bool
    """True if the run had been submitted before and this call changed nothing."""

    def __new__(cls, run_id: str, *, sequence: int, is_duplicate: bool) -> Submitted:
        self = super().__new__(cls, run_id)
        self.sequence = sequence
        self.is_duplicate = is_duplicate
        return self


@dataclass(frozen=True)
class Event:
    """One event of a run, in the shape every live view of the product shares."""

    seq: int
    """Its sequence in the stream: hand it to ``since_seq`` to go on behind it."""
    subject: str
    """Subject it came on, such as ``ml.run.trial``."""
    time: datetime
    """When the stream took it in, UTC."""
    run_id: str
    """Its run."""
    type: str
    """CloudEvents type, such as ``ml.run.trial.v1``."""
    data: JsonObject
    """The event: the same whether it was written in JSON or in Avro."""
    is_for_failed_trials: bool = field(default=False, repr=False)
    """True for a request that asks for the failed trials of a run again, even of one that completed."""

    @property
    def is_terminal(self) -> bool:
        """True for the events that end a run."""
        return self.subject in TERMINAL_SUBJECTS

    def to_json(self) -> JsonObject:
        """As ``producer watch -o ndjson`` prints it, for :func:`json.dumps`."""
        line = {**vars(self), "time": iso(self.time)}
        del line["is_for_failed_trials"]
        return line


TERMINAL_SUBJECTS = (
    "cerebros.nas.run.completed",
    "cerebros.nas.run.failed",
    "cerebros.nas.run.cancelled",
)
"""Subjects of the events that end a run. ``interrupted`` is none: the run goes on elsewhere."""


@dataclass(frozen=True)
class Failure:
    """Why a run or a trial failed."""

    failure_class: str
    """One of a closed set: ``validation``, ``dependency``, ``user_code``, ``oom``, ..."""
    stage: str
    """``decode``, ``validate``, ``execute``, ``publish`` or ``sink``."""
    message: str
    origin: str | None = None
    """Who can put it right: ``user``, ``system``, ``external``, ``infrastructure``."""
    retryable: bool = False
    exit_code: int | None = None
    signal: int | None = None
    traceback: str | None = None
    stdout_excerpt: str | None = None
    """The last 4 KiB, as of ``stderr_excerpt``."""
    stderr_excerpt: str | None = None
    fingerprint: str | None = None
    """Equal faults have equal ones."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run_id: str
    state: RunState
    """Completed, failed or cancelled."""
    attempt: int
    """Attempt of the run that ended it, from 1."""
    status: str | None = None
    """Of a completed run: ``succeeded``, or the budget that ended it early."""
    completed_trials: int = 0
    """Trials that ended, successful or not."""
    failed_trials: int = 0
    best_metric: float | None = None
    """The best trial's objective."""
    best_trial_id: str | None = None
    best_model: Any = field(default_factory=dict)
    """Parameters of the best trial."""
    population_history: Any = field(default_factory=list)
    """Per generation: ``generation``, ``best``, ``mean``, ``std``, ``size``."""
    duration_ms: int = 0
    """Wall-clock time of the last attempt in milliseconds."""
    artifact_refs: list[JsonObject] = field(default_factory=list)
    failure: Failure | None = None
    """Of a failed run: why."""
    reason: str | None = None
    """Of a cancelled run: why."""
    seq: int | None = None
    """Sequence of the event that says so; None when only the registry remembers."""


def known_fields(kind: type[_T], data: JsonObject) -> JsonObject:
    """The entries of ``data`` that ``kind`` has fields for, nulls left out where there is a default."""
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return {name: value for name, value in data.items() if name in names and value is not None}


def failure_of(data: JsonObject | None) -> Failure | None:
    """The failure in an event or a record."""
    if not isinstance(data, dict):
        return None
    given = known_fields(Failure, data)
    given["failure_class"] = str(data.get("class", "unknown"))
    given.setdefault("stage", "execute")
    given.setdefault("message", "")
    return Failure(**given)

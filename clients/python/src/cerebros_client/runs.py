"""A run, put together from what the registry has and from requests no worker has taken up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from . import ids, values
from .listing import RunDetails, RunSummary
from .models import Event, JsonObject, RunState, failure_of
from .progress import Progress
from .stream import Start
from .subjects import REQUESTED
from .times import parse

DEFAULT_MAX_TRIALS = 10
DEFAULT_PARALLELISM = 4
"""What a request asks for that does not say it."""
_NO_SEQUENCE = 2**64 - 1
"""First sequence of a record that was made before any request."""
_CLOCK_SKEW = timedelta(hours=1)
"""How far the clocks of the machine that made a run id and of the broker may be apart."""


@dataclass(frozen=True)
class Run:
    """One run: a record of the registry, a request beside it or instead of it, or nothing yet."""

    run_id: str
    record: JsonObject | None = None
    request: Event | None = None
    """A request no worker has taken up: the first one, or one that asks for the run again."""

    @property
    def is_submitted(self) -> bool:
        """True if anybody has asked for it; a cancel request may come before."""
        return self.request is not None or bool(self.record and self.record["request_sequence"])

    @property
    def is_over(self) -> bool:
        """True if it ended and nobody has asked for it again."""
        return self.request is None and self.record is not None and self.state.is_final

    @property
    def state(self) -> RunState:
        """Where it stands."""
        if self.request is not None or self.record is None:
            return RunState.REQUESTED
        return RunState(self.record["state"])

    @property
    def attempt(self) -> int:
        """Current or last attempt, 0 before the first."""
        return int(self.record["attempt"]) if self.record else 0

    @property
    def request_sequence(self) -> int:
        """Sequence of the request that counts: an end before it belongs to an earlier asking."""
        if self.request is not None:
            return self.request.seq
        return int(self.record["request_sequence"]) if self.record else 0

    def begin(self) -> Start:
        """First place in the stream that can hold its events."""
        known = [self.request.seq] if self.request else []
        if self.record and 0 < self.record["first_sequence"] < _NO_SEQUENCE:
            known.append(self.record["first_sequence"])
        if known:
            return Start(min(known))
        made_at = ids.made_at(self.run_id)
        return Start(time=made_at - _CLOCK_SKEW) if made_at else Start()

    def spec(self) -> JsonObject:
        """What is asked."""
        if self.request is not None:
            return self.request.data
        spec = self.record["spec"] if self.record else {}
        return values.from_json(REQUESTED, spec)

    def summary(self) -> RunSummary:
        """As it is listed."""
        record, request = self.record or {}, self.request
        asked = request.data if request else record
        is_new = request is not None
        requested_at = request.time if request else _time(record.get("requested_at"))
        assert requested_at is not None, "a run has a record or a request"
        return RunSummary(
            run_id=self.run_id,
            state=self.state,
            dataset_id=asked.get("dataset_id") or "",
            objective=asked.get("objective") or ("accuracy" if is_new else ""),
            attempt=self.attempt,
            completed_trials=record.get("completed_trials", 0),
            failed_trials=record.get("failed_trials", 0),
            max_trials=self._limit("max_trials", DEFAULT_MAX_TRIALS),
            best_metric=values.number(record.get("best_metric")),
            best_trial_id=record.get("best_trial_id"),
            requested_at=requested_at,
            started_at=None if is_new else _time(record.get("started_at")),
            ended_at=None if is_new else _time(record.get("ended_at")),
            worker_id=None if is_new else record.get("worker_id"),
        )


    @property
    def parallelism(self) -> int | None:
        """Trials that may be under way at once, None if nobody has asked for the run yet."""
        limit = self._limit("parallelism", DEFAULT_PARALLELISM)
        changed = (self.record or {}).get("parallelism")
        return min(limit, changed) if limit is not None and isinstance(changed, int) else limit

    def _limit(self, name: str, default: int) -> int | None:
        """A number of the budget, None if nobody has asked for the run yet."""
        if not self.is_submitted:
            return None
        asked = self.request.data if self.request is not None else self.record or {}
        budget = asked.get("budget")
        given = budget.get(name) if isinstance(budget, dict) else None
        return given if isinstance(given, int) else default


def is_unclaimed(record: Mapping[str, object] | None, sequence: int, *, is_for_failed_trials: bool) -> bool:
    """True if no worker has taken up the request at ``sequence``, judged by the record of its run. One that
    completed is asked for again only for its failed trials."""
    if record is None:
        return True
    may_be_asked_again = record["state"] in ("requested", "failed", "cancelled") or (
        record["state"] == "completed" and is_for_failed_trials and bool(record.get("failed_trials"))
    )
    taken = record["request_sequence"]
    assert isinstance(taken, int), "a record's sequences are numbers"
    return may_be_asked_again and sequence > taken


def merge(records: Iterable[JsonObject], requests: Iterable[Event]) -> list[Run]:
    """Every run once, oldest first; of several requests for one run, the first counts."""
    known = {record["run_id"]: record for record in records}
    asked: dict[str, Event] = {}
    for request in requests:
        if request.run_id not in asked and is_unclaimed(
            known.get(request.run_id), request.seq, is_for_failed_trials=request.is_for_failed_trials
        ):
            asked[request.run_id] = request
    runs = [Run(run_id, known.get(run_id), asked.get(run_id)) for run_id in {**known, **asked}]
    return sorted(runs, key=_age)


def details(run: Run, progress: Progress) -> RunDetails:
    """One run laid open: what the registry has, else what the events tell."""
    record, summary = run.record or {}, run.summary()
    if run.record is None:
        trials = progress.trials(summary.objective)
        summary = replace(
            summary,
            state=progress.state,
            attempt=progress.attempt,
            completed_trials=len(trials),
            failed_trials=progress.failed_trials,
        )
    failure = failure_of(record.get("failure")) or progress.failure
    return RunDetails(
        **vars(summary),
        spec=run.spec(),
        failures=record.get("failures", int(failure is not None)),
        interruptions=record.get("interruptions", 0),
        worker_losses=record.get("worker_losses", 0),
        running_trials=0 if summary.state.is_final else record.get("running_trials", 0),
        parallelism=run.parallelism,
        ended_by=record.get("ended_by"),
        failure=failure,
        cancel_requested=record.get("cancel_requested"),
        mlflow_run_id=record.get("mlflow_run_id"),
        trials=progress.trials(summary.objective),
    )


def _age(run: Run) -> tuple[datetime, str]:
    return run.summary().requested_at, run.run_id


def _time(text: str | None) -> datetime | None:
    return parse(text) if text else None

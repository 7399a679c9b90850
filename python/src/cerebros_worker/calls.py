"""One call: run the function it names, and make exactly one result of whatever happens.

Nothing user code does ends the child from here: returning rubbish, raising, `sys.exit`, and
running out of memory are all results. Afterwards the process is put back in order for the
next call. What a trainer did to modules, the environment or signal handlers is not undone.
"""

from __future__ import annotations

import math
import os
import resource
import sys
import time
from typing import Any, Callable, Dict, List, Mapping, Tuple

from . import limits, opaque
from .channel import Channel
from .datasets import DataSets
from .entries import Entries, Function
from .failures import (
    ClassifiedError,
    DependencyMissing,
    InvalidRequest,
    NotSendable,
    ObjectiveNotFinite,
    describe,
)
from .frames import Message
from .garbage import Collector
from .plain import plain_float, to_metrics, to_number
from .remarks import Remarks
from .stops import Stopped
from .streams import StandardStreams
from .trial import Trial, seed_generators, sendable

# ru_maxrss counts KiB on Linux, bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024

Outcome = Dict[str, Any]


class Calls:
    """Runs the calls of one child, one after the other."""

    def __init__(self, channel: Channel, entries: Entries, datasets: DataSets) -> None:
        self._channel = channel
        self._entries = entries
        self._datasets = datasets
        self._streams = StandardStreams()
        self._garbage = Collector()
        self._home = _home()

    def run(self, request: Message) -> None:
        """Executes a call and sends its result."""
        call_id = request["id"]
        clocks = (time.perf_counter(), time.process_time())
        trial = Trial(call_id, request.get("trial") or {}, self._channel, self._datasets)
        remarks = Remarks()
        self._channel.begin(call_id)
        with remarks:
            outcome = self._outcome(request, trial)
        if self._channel.forked:
            os._exit(0)  # a copy that user code forked off came back: only the original answers
        self._tidy()
        result = _result(request, trial, outcome, remarks.texts, clocks)
        result["worn_out"] = limits.worn_out()
        result["source"] = self._entries.source(request.get("entry"))
        self._finish(call_id, result)
        self._garbage.after_call(
            time.perf_counter() - clocks[0], failed=outcome["status"] == "failed"
        )

    def _outcome(self, request: Message, trial: Trial) -> Outcome:
        outcome: Outcome = {}
        try:
            outcome = {"status": "succeeded", **self._perform(request, trial)}
        except Stopped as stop:
            trial.stopped_by = stop
        except BaseException as error:
            outcome = _failed(error)
        if trial.stopped_by is not None:
            # Whatever a trainer made of it, returned or raised: it was stopped.
            return {"status": trial.stopped_by.status, "metrics": trial.latest_metrics}
        return outcome

    def _perform(self, request: Message, trial: Trial) -> Outcome:
        operation = _OPERATIONS.get(request.get("op", ""))
        if operation is None:
            raise InvalidRequest(f"unknown operation {request.get('op')!r}")
        function = self._entries.find(request.get("entry"))  # type: ignore[arg-type]
        _enter(trial.workdir)
        seed_generators(trial.seed)
        return operation(function, request, trial)

    def _tidy(self) -> None:
        self._streams.restore()
        try:
            os.chdir(self._home)
        except OSError:
            os.chdir("/")

    def _finish(self, call_id: int, result: Message) -> None:
        try:
            self._channel.finish(call_id, result)
        except NotSendable as error:
            slim = {
                "type": "result",
                "id": call_id,
                "metrics": {},
                "worn_out": result["worn_out"],
                **_failed(error),
            }
            self._channel.finish(call_id, slim)


def _home() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _train(function: Function, request: Message, trial: Trial) -> Outcome:
    returned = function(dict(request.get("params") or {}), trial)
    if isinstance(returned, Mapping):
        metrics = to_metrics(returned, "the returned metrics")
    elif returned is None:
        raise NotSendable("train returned None: return the objective or a dict of metrics")
    else:
        metrics = {trial.objective: to_number(returned, "the returned objective")}
    return {"value": _objective(metrics, trial.objective), "metrics": metrics}


def _objective(metrics: Dict[str, float], name: str) -> float:
    value = metrics.get(name)
    if value is None:
        there = ", ".join(sorted(metrics)[:20]) or "no metric at all"
        error: ClassifiedError = NotSendable(f"the objective {name!r} is missing: returned {there}")
    elif not math.isfinite(value):
        error = ObjectiveNotFinite(f"the objective {name!r} is {value}")
    else:
        return value
    raise _FailedObjective(error, metrics)


class _FailedObjective(Exception):
    """The trainer returned, but not what the search needs; its metrics are kept."""

    def __init__(self, error: ClassifiedError, metrics: Dict[str, float]) -> None:
        super().__init__(str(error))
        self.error = error
        self.metrics = metrics


_OPERATIONS: Dict[str, Callable[[Function, Message, Trial], Outcome]] = {
    "train": _train,
    "run_nas": opaque.run,
}


def _enter(workdir: str) -> None:
    try:
        os.chdir(workdir)
    except OSError as error:
        raise DependencyMissing(
            f"the working directory of the trial is not usable: {error}"
        ) from None


def _failed(error: BaseException) -> Outcome:
    if isinstance(error, _FailedObjective):
        return {"metrics": error.metrics, **_failed(error.error)}
    return {"status": "failed", "failure": describe(error)}


def _result(
    request: Message,
    trial: Trial,
    outcome: Outcome,
    warnings: List[str],
    clocks: Tuple[float, float],
) -> Message:
    parameters = trial.effective_parameters
    norm = trial.spectral_norm_value
    return {
        "type": "result",
        "id": request["id"],
        "status": outcome["status"],
        "metrics": sendable(outcome.get("metrics", trial.latest_metrics)),
        "value": outcome.get("value"),
        "failure": outcome.get("failure"),
        "spectral_norm": trial.spectral_norm,
        "spectral_norm_value": None if norm is None else plain_float(norm),
        "warnings": warnings,
        "other_datasets": trial.other_datasets,
        "parameters": (request.get("params") or {}) if parameters is None else parameters,
        "duration_ms": round((time.perf_counter() - clocks[0]) * 1000),
        "cpu_ms": round((time.process_time() - clocks[1]) * 1000),
        # The process's peak so far, not this call's alone: the system keeps no other.
        "max_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT,
    }

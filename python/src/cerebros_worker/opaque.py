"""Opaque runs: a user's `run_nas(spec, opts)` that brings a search of its own.

The runtime adds two callables to `opts`, `report_trial` and `report`, and reads two things
from the result: whether it says it failed, and the best metric. The rest travels as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Callable, Dict, Optional

from .failures import ClassifiedError, ObjectiveNotFinite, UnreadableResult
from .plain import kind_of, to_metrics, to_number, to_plain
from .trial import Trial, sendable

STATUSES = ("succeeded", "failed", "skipped", "cancelled", "pruned")

_SPELLINGS = {"success": "succeeded", "completed": "succeeded", "canceled": "cancelled"}
_FAILED = {"failed", "failure", "error"}

# The opaque run in progress; there is at most one per process.
_current: Optional[Trial] = None


class RunReportedFailure(ClassifiedError):
    """The run returned normally and says in its result that it failed."""


def report_trial(trial: Optional[Mapping[str, Any]] = None, /, **fields: Any) -> None:
    """Publishes one trial of an opaque run, with the fields of the event `TrialReported`.

    Give them as one dict, as keywords, or both. All are optional; `status` is "succeeded"
    unless it is given, `metrics` is a dict of numbers. Raises `Cancelled` when the run is to
    stop, and `RuntimeError` outside an opaque run.
    """
    _running().publish_trial(_trial_fields({**(trial or {}), **fields}))


def report(
    metrics: Mapping[str, Any], step: Optional[int] = None, *, number: Optional[int] = None
) -> None:
    """Publishes values on the way of a trial: of `number`, or of the one that is told next.

    `step` counts up from 0 for each trial when it is not given. Raises `Cancelled` when the
    run is to stop.
    """
    _running().publish_report(metrics, step, number)


def _running() -> Trial:
    if _current is None:
        raise RuntimeError("report_trial is for run_nas; a trainer calls trial.report")
    return _current


def run(function: Callable[..., Any], request: Mapping[str, Any], trial: Trial) -> Dict[str, Any]:
    """Calls `run_nas(spec, opts)`; the value and metrics of its result."""
    global _current
    _current = trial
    try:
        told = {"report_trial": report_trial, "report": report}
        opts = {**(request.get("opts") or {}), **told}
        returned = function(request.get("spec") or {}, opts)
    finally:
        _current = None
    if not isinstance(returned, Mapping):
        raise UnreadableResult(f"run_nas must return a dict, it returned {kind_of(returned)}")
    value = to_plain(returned, "result")
    if str(value.get("status", "")).lower() in _FAILED:
        words = value.get("error") or value.get("message") or value.get("reason")
        raise RunReportedFailure(str(words or "run_nas returned status failed without a message"))
    if "best_model" not in value and "best_architecture" in value:
        value["best_model"] = value["best_architecture"]
    return {"value": value, "metrics": _metrics(returned, trial.objective)}


def _metrics(returned: Mapping[str, Any], objective: str) -> Dict[str, float]:
    best = returned.get("best_metric")
    if best is None:
        return {}  # whether a result without it will do is for the worker to say
    value = to_number(best, "result.best_metric")
    if not math.isfinite(value):
        raise ObjectiveNotFinite(f"run_nas returned best_metric = {value}")
    return {objective: value}


def _trial_fields(fields: Dict[str, Any]) -> Dict[str, Any]:
    status = str(fields.pop("status", None) or "succeeded").lower()
    status = _SPELLINGS.get(status, status)
    if status not in STATUSES:
        raise ValueError(f"trial status {status!r} is none of {', '.join(STATUSES)}")
    metrics = to_metrics(fields.pop("metrics", None) or {})
    plain: Dict[str, Any] = to_plain(fields, "trial")
    return {"status": status, "metrics": sendable(metrics), **plain}

"""Values that JSON and Avro write differently, brought to one form. Pure.

Doubles are floats, also NaN and the infinities, which JSON writes as texts; free-form parts are JSON
values, which Avro writes as text; points in time are ISO-8601, which Avro writes as a number.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from .errors import UnreadableEvent
from .models import JsonObject
from .subjects import COMPLETED, METRIC, REQUESTED
from .times import iso

_DOUBLES = {
    REQUESTED: ("tau",),
    COMPLETED: ("best_metric",),
    METRIC: ("value",),
    "ml.run.start": ("tau",),
    "ml.run.trial": ("spectral_norm_value",),
}
_JSON_TEXTS = frozenset(
    {"search_space", "parameters", "best_model", "population_history", "payload", "extra", "budget"}
)
_NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def from_json(subject: str, data: JsonObject) -> JsonObject:
    """An event as JSON gave it, with its doubles as floats."""
    made = dict(data)
    for name in _DOUBLES.get(subject, ()):
        if name in made:
            made[name] = number(made[name])
    if isinstance(made.get("metrics"), dict):
        made["metrics"] = {name: number(value) for name, value in made["metrics"].items()}
    if subject == REQUESTED and isinstance(made.get("budget"), dict):
        seconds = ("max_seconds", "max_trial_seconds")
        budget = made["budget"]
        made["budget"] = {name: number(value) if name in seconds else value for name, value in budget.items()}
    return made


def from_avro(data: JsonObject) -> JsonObject:
    """An event as Avro gave it, with times and free-form parts as JSON would have them.

    Raises:
        UnreadableEvent: A free-form part is no JSON text.
    """
    made: JsonObject = {}
    for name, value in data.items():
        if name in _JSON_TEXTS and isinstance(value, str):
            try:
                made[name] = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise UnreadableEvent(f"{name} is no JSON text", because=str(error)) from error
        else:
            made[name] = _plain(value)
    return made


def number(value: Any) -> Any:
    """A double: what JSON wrote as an integer or as a text is a float; anything else stays."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            return value
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value

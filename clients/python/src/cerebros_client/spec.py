"""What callers give, checked before anything is sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from . import ids
from .errors import InvalidRequest
from .models import RunState

MAX_WAIT_SECONDS = 366 * 24 * 3600.0
"""Longest time a request may say it waits: far beyond what a stream keeps."""


def spec_with_id(spec: Mapping[str, Any], run_id: str | None) -> dict[str, Any]:
    """The request of a run, its id in it: the one given, the one in the spec, or a new one.

    Raises:
        InvalidRequest: It is none. What only a worker can judge, such as the name of the data set, it judges.
    """
    if not isinstance(spec, Mapping):
        raise InvalidRequest("a spec is a dict", help='such as {"dataset_id": "digits"}')
    if not isinstance(spec.get("dataset_id"), str) or not spec["dataset_id"]:
        raise InvalidRequest("the spec names no data set", help='such as {"dataset_id": "digits"}')
    inside = spec.get("run_id")
    if inside is not None and run_id is not None and inside != run_id:
        raise InvalidRequest("the spec has another run id than the one given", help="keep one of them")
    given = inside if run_id is None else run_id
    return {**spec, "run_id": ids.check(given if given is not None else ids.new())}


def wanted_until(expires: float | None, now: datetime) -> datetime | None:
    """When a request of this moment is no longer wanted.

    Raises:
        InvalidRequest: It is no number of seconds above zero, up to a year.
    """
    if expires is None:
        return None
    # What is not a number is in no range, either.
    if not isinstance(expires, int | float) or not 0 < expires <= MAX_WAIT_SECONDS:
        raise InvalidRequest(
            f"a request cannot expire in {expires!r} seconds",
            help="a number above zero, up to a year, such as 3600",
        )
    return now + timedelta(seconds=expires)


def state_named(state: RunState | str | None) -> RunState | None:
    """The state of that name.

    Raises:
        InvalidRequest: There is none.
    """
    try:
        return RunState(state) if state is not None else None
    except ValueError as error:
        states = ", ".join(each.value for each in RunState)
        raise InvalidRequest(f"there is no state {state!r}", help=f"one of {states}") from error

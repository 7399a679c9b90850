"""The ways a search ends a trial before its trainer is done.

They derive from `BaseException`, so that the `except Exception` of a training loop does not
swallow them. `trial.report` and `report_trial` raise them; a trainer may catch one to tidy
up, and should let it go on. Returning normally after one was raised still counts as stopped.
"""

from __future__ import annotations

from typing import Type


class Stopped(BaseException):
    """The search wants no more of this trial. Caught as one of its two kinds."""

    status = "cancelled"


class Cancelled(Stopped):
    """The run was cancelled, or ran out of its budget."""

    status = "cancelled"


class Pruned(Stopped):
    """The trial is not promising enough to be finished."""

    status = "pruned"


def stop_of(reason: str) -> Type[Stopped]:
    """The exception for a stop frame's reason; an unknown reason cancels."""
    return Pruned if reason == "pruned" else Cancelled

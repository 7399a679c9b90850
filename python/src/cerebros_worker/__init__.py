"""The Python side of a cerebros worker: what a trainer or an opaque run may import.

A trainer needs none of it: it is a function `train(params, trial)` and gets everything it
uses through `trial`. This module names the few things such a function may want to catch,
raise or annotate. Everything else in the package is the child runtime, and private to it.
"""

from .failures import DependencyMissing, InvalidRequest
from .opaque import report_trial
from .stops import Cancelled, Pruned, Stopped
from .trial import Trial

__all__ = [
    "Cancelled",
    "DependencyMissing",
    "InvalidRequest",
    "Pruned",
    "Stopped",
    "Trial",
    "report_trial",
]

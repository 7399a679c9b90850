"""What this process may take of the machine, set before anything but the runtime is imported.

Soft and hard limits alike, so that user code cannot raise them again unless it is root. The
worker watches memory too, over all processes of a trial; the limit here comes first as a
rule, and gives Python code a `MemoryError` instead of an end. It counts the private memory
a process may write to, not its address space: numeric libraries reserve far more of that
than they use.
"""

from __future__ import annotations

import contextlib
import os
import resource
from typing import Any, Mapping, Optional

# With more than this share of its descriptors taken, a process is not given another trial.
_WORN_OUT_SHARE = 0.5
# From 0 to 1000. When the machine itself runs out of memory, a child goes before its worker.
_OOM_SCORE = "500"


def apply(limits: Mapping[str, Any]) -> None:
    """Sets the limits the worker asks for. Never raises a limit that is lower already."""
    _lower(resource.RLIMIT_CORE, 0)
    if limits.get("open_files") is not None:
        _lower(resource.RLIMIT_NOFILE, int(limits["open_files"]))
    if limits.get("memory_bytes") is not None:
        _lower(resource.RLIMIT_DATA, int(limits["memory_bytes"]))
    place = "/proc/self/oom_score_adj"
    with contextlib.suppress(OSError), open(place, "w", encoding="ascii") as score:  # Linux alone
        score.write(_OOM_SCORE)


def worn_out() -> Optional[str]:
    """Says why the next call would be short of descriptors, if it would."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        lowest_free = os.dup(0)  # every number below it is taken
    except OSError:
        return "the trial left no descriptor free"
    os.close(lowest_free)
    if limit < 0 or lowest_free < limit * _WORN_OUT_SHARE:
        return None
    return f"the trial left {lowest_free} of {limit} descriptors open"


def _lower(which: int, wanted: int) -> None:
    hard = resource.getrlimit(which)[1]
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(which, (limit, limit))

"""Processes a trial gave up stay below this one, so that the worker finds them.

A process whose parent has ended falls to the nearest ancestor that asked for it. Without
asking it would be the system's first process, and a trial that leaves its process group and
lets its parent go would leave something nobody can attribute to it. Linux only.
"""

from __future__ import annotations

import contextlib
import sys

_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> bool:
    """Asks the kernel; false where it cannot be asked."""
    if not sys.platform.startswith("linux"):
        return False
    # An interpreter may be built without `ctypes`; the worker then adopts, once this one ends.
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        return ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0  # type: ignore[no-any-return]
    return False

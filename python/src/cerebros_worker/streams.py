"""stdin, stdout and stderr belong to user code; the next trial gets them whole again.

The worker captures the last two and keeps an excerpt for failures. So lines leave the process
as they are printed (a crash must not take them along), and what a trial closed or redirected,
the descriptors as well as the Python objects, is restored after it.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, Tuple

from .descriptors import hidden_copy

_MODES = ("r", "w", "w")


class StandardStreams:
    """Descriptors 0, 1 and 2, and the objects on them, as they were at start."""

    def __init__(self) -> None:
        self._kept = [(number, hidden_copy(number), _identity(number)) for number in (0, 1, 2)]
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True, errors="backslashreplace")
        self._objects: Tuple[Any, ...] = (sys.stdin, sys.stdout, sys.stderr)

    def restore(self) -> None:
        """Flushes what was printed and undoes what was done to the streams. Never raises."""
        for stream in (sys.stdout, sys.stderr):
            # Closed, or replaced by something odd: put right below.
            with contextlib.suppress(Exception):
                stream.flush()
        for number, copy, identity in self._kept:
            if _identity(number) != identity:
                os.dup2(copy, number)
        if any(stream.closed for stream in self._objects):
            self._objects = tuple(_open(number, mode) for number, mode in enumerate(_MODES))
        sys.stdin, sys.stdout, sys.stderr = self._objects


def _identity(number: int) -> Tuple[int, int]:
    try:
        status = os.fstat(number)
    except OSError:
        return (-1, -1)
    return (status.st_dev, status.st_ino)


def _open(number: int, mode: str) -> Any:
    return open(
        number, mode, buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )

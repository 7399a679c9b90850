"""Takes over the descriptors the worker handed to this process, and puts them out of reach.

Frames travel on two descriptors of their own (3 in, 4 out, or the numbers the environment
names), stdin is the lifeline. All three move to high numbers that are closed on exec and in
forked copies, so that neither a grandchild nor user code that writes to a low number can
touch the protocol. In place of stdin stays /dev/null: a stray `input()` ends at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
from typing import MutableMapping, NamedTuple

FRAMES_IN_VARIABLE = "CEREBROS_FRAMES_IN"
FRAMES_OUT_VARIABLE = "CEREBROS_FRAMES_OUT"

# Above everything a program opens by itself, below every usual limit of open files.
HIDING_PLACE = 512


class Descriptors(NamedTuple):
    """Numbers only this runtime knows."""

    frames_in: int
    frames_out: int
    lifeline: int


def take_over(environ: MutableMapping[str, str]) -> Descriptors:
    """Moves the three descriptors. Raises `OSError` or `ValueError` when they are not there."""
    frames_in = int(environ.pop(FRAMES_IN_VARIABLE, "3"))
    frames_out = int(environ.pop(FRAMES_OUT_VARIABLE, "4"))
    for number in (frames_in, frames_out):
        os.fstat(number)  # both are there before anything is moved
    taken = Descriptors(_move(frames_in), _move(frames_out), hidden_copy(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return taken


def hidden_copy(number: int) -> int:
    """A copy of a descriptor at a high number, gone in executed and in forked processes."""
    soft_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    lowest = HIDING_PLACE if soft_limit > 2 * HIDING_PLACE or soft_limit < 0 else soft_limit // 2
    copy: int = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.register_at_fork(after_in_child=lambda: _close(copy))
    return copy


def _move(number: int) -> int:
    copy = hidden_copy(number)
    os.close(number)
    return copy


def _close(number: int) -> None:
    with contextlib.suppress(OSError):  # user code may have been faster
        os.close(number)

"""The child does not outlive its worker, and shows that it is alive.

stdin carries nothing and is never closed by a living worker. When it ends, the worker is
gone, and this process and whatever it started end at once: the child leads a process group,
and the group is killed. Two guards watch for it: the kernel, which needs no help from this
process and so also ends one that hangs with the interpreter's lock held; and a thread, which
works on every system. The thread also sends the heartbeats, so an idle child has two threads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from .channel import Channel


def end_process_group() -> NoReturn:
    """SIGKILL for the process group this process leads, or for it alone if it leads none."""
    if _leads_its_group():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)  # not reached; says so to readers and type checkers


def arm_kernel_guard(lifeline: int) -> bool:
    """Has the kernel send SIGKILL to the group when the pipe's last writer goes away.

    False where the system cannot (not Linux, or stdin is no pipe); the thread remains.
    """
    owner = -os.getpgrp() if _leads_its_group() else os.getpid()
    try:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, owner)
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    except (OSError, AttributeError):
        return False
    return True


class Watch(threading.Thread):
    """Waits for the end of the lifeline; between two looks it sends a heartbeat."""

    def __init__(self, lifeline: int, channel: Channel, interval_ms: int) -> None:
        super().__init__(name="cerebros-watch", daemon=True)
        self._lifeline = lifeline
        self._channel = channel
        self._interval_ms = interval_ms
        # Set once the worker has its `ready`; before it, silence is part of the handshake.
        self.beating = False

    def run(self) -> None:
        lifeline = select.poll()
        lifeline.register(self._lifeline, select.POLLIN)
        while True:
            # A trainer may have all the memory for a while; this thread must outlast that.
            with contextlib.suppress(MemoryError):
                if lifeline.poll(self._interval_ms):
                    if not os.read(self._lifeline, 1):
                        end_process_group()
                elif self.beating:
                    self._channel.beat()


def _leads_its_group() -> bool:
    return os.getpgrp() == os.getpid()

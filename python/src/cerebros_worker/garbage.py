"""When to collect cyclic garbage between calls.

A trainer's model should not linger while the slot waits for its next trial, and a collection
takes a fixed time whatever the trial took. So it happens after every call that was long
compared with it, after every failure (which may have been short of memory), and after short
calls only once they add up.
"""

from __future__ import annotations

import gc
import time

# Collecting takes at most about a twentieth of the time that calls take.
SHARE = 20


class Collector:
    """Remembers what collecting costs and how long calls have run since."""

    def __init__(self) -> None:
        self._cost_seconds = 0.0
        self._called_seconds = 0.0

    def after_call(self, seconds: float, failed: bool) -> None:
        """Collects if it is worth it."""
        self._called_seconds += seconds
        if failed or self._called_seconds >= SHARE * self._cost_seconds:
            started = time.perf_counter()
            gc.collect()
            self._cost_seconds = time.perf_counter() - started
            self._called_seconds = 0.0

"""Measures a call's round trip beside a bare pipe echo: `python -m tests.measure_round_trip`.

Prints medians and 99th percentiles in microseconds. Both children are Python, both drivers are
the same loop, so the difference is the runtime's. Not a test: it asserts nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import sys
import time
from typing import Any, Callable, List, Tuple

from .driver import PYTHON, Child

ROUNDS = 5_000
WARM_UP = 500
PARAMS = {"layers": [64, 32], "activation": "relu", "learning_rate": 0.001, "note": "x" * 200}

# One read, one decode, one encode, one write: what any child has to do at least.
BARE = """
import json, os, struct
while True:
    data = os.read(0, 65536)
    if not data:
        break
    body = json.dumps(json.loads(data[4:]), separators=(",", ":")).encode()
    os.write(1, struct.pack(">I", len(body)) + body)
"""


def round_trips(sink: int, source: int, message: Any) -> List[float]:
    """Seconds per round trip; expects one frame in, one frame out, each in one read."""
    times = []
    for number in range(ROUNDS + WARM_UP):
        started = time.perf_counter()
        body = json.dumps({**message, "id": number}, separators=(",", ":")).encode()
        os.write(sink, struct.pack(">I", len(body)) + body)
        answer = json.loads(os.read(source, 65536)[4:])
        times.append(time.perf_counter() - started)
        assert answer["id"] == number, answer
    return times[WARM_UP:]


def measure_bare() -> List[float]:
    with subprocess.Popen(
        [PYTHON, "-c", BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout
        message = {"type": "call", "op": "echo", "params": PARAMS}
        return round_trips(process.stdin.fileno(), process.stdout.fileno(), message)


def measure_child(call: Callable[[Child], Any]) -> List[float]:
    with Child() as child:
        child.set_up(heartbeat_ms=3_600_000)
        return round_trips(*child.descriptors(), call(child))


def echo_call(_child: Child) -> Any:
    return {"type": "call", "op": "echo", "params": PARAMS}


def noop_call(child: Child) -> Any:
    trial = {"objective": "accuracy", "seed": 1, "workdir": str(child.workdir)}
    return {"type": "call", "op": "train", "entry": "noop", "params": {"x": 0.5}, "trial": trial}


def main() -> None:
    rows: List[Tuple[str, List[float]]] = [
        ("bare pipe echo", measure_bare()),
        ("echo call", measure_child(echo_call)),
        ("noop trial", measure_child(noop_call)),
    ]
    bare = statistics.median(rows[0][1])
    for name, times in rows:
        median, high = statistics.median(times), statistics.quantiles(times, n=100)[98]
        line = f"{name:16} p50 {median * 1e6:7.1f}   p99 {high * 1e6:7.1f}   {median / bare:5.2f} x"
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()

"""Submits tasks and waits for their results, as ordered on standard input; answers on standard output.

One JSON object a line each way: {"do": "stored" | "collected" | "latency", "count": N} is answered by
{"seconds": [...]}: one duration of the whole, or one per task. Ends with its standard input.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Dict, List

import redis
from celery_app import app, noop

# As large as our requests.
REQUEST: Dict[str, Any] = json.loads(os.environ["BENCH_REQUEST"])
# A task that has no result by then has none at all.
LIMIT_SECONDS = 60
# Looking more often takes the processor away from what is measured.
POLL_SECONDS = 0.002


def stored(count: int) -> List[float]:
    """Submits all, then waits until every result is stored, asking Redis itself.

    The fastest way that was found: collecting results through Celery's own client costs more than
    the tasks do.
    """
    store = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    started = time.perf_counter()
    keys = [app.backend.get_key_for_task(noop.delay(REQUEST).id) for _ in range(count)]
    while store.exists(*keys) < count:
        if time.perf_counter() - started > LIMIT_SECONDS:
            sys.exit("results are missing")
        time.sleep(POLL_SECONDS)
    return [time.perf_counter() - started]


def collected(count: int) -> List[float]:
    """Submits all, then gets every result, as programs that use Celery do."""
    started = time.perf_counter()
    for result in [noop.delay(REQUEST) for _ in range(count)]:
        result.get(timeout=LIMIT_SECONDS)
    return [time.perf_counter() - started]


def latency(count: int) -> List[float]:
    """Submits one after the result of the other."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        noop.delay(REQUEST).get(timeout=LIMIT_SECONDS)
        seconds.append(time.perf_counter() - started)
    return seconds


def main() -> None:
    """Serves orders until there are no more."""
    orders = {"stored": stored, "collected": collected, "latency": latency}
    for line in sys.stdin:
        order = json.loads(line)
        answer = {"seconds": orders[order["do"]](order["count"])}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

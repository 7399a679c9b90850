"""The Celery side: one task that does nothing and whose result is stored.

Everything is Celery's default: JSON, early acknowledgement (a lost worker loses its tasks), a
prefetch of four. A larger prefetch was tried and gave no more.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])

# As large as what our runs end with.
_RESULT: Dict[str, Any] = json.loads(os.environ["BENCH_RESULT"])


@app.task
def noop(request: Dict[str, Any]) -> Dict[str, Any]:
    """Takes a request and stores a result."""
    return _RESULT

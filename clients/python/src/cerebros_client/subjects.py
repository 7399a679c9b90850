"""The names of the contract: streams, buckets, subjects, records."""

from __future__ import annotations

STREAM = "CEREBROS"
"""Stream of requests and events."""
EVENTS = ("cerebros.nas.run.*", "ml.run.*")
"""Subjects of requests and events; the stream has others beside them, for workers among themselves."""
RUNS_STREAM = "KV_cerebros_runs"
"""Stream behind the bucket of the run registry."""
RUNS_PREFIX = "$KV.cerebros_runs."
SCHEMAS_STREAM = "KV_cerebros_schemas"
"""Stream behind the bucket of the schemas."""
SCHEMAS_PREFIX = "$KV.cerebros_schemas."
WORKER_CONSUMER = "bridge-worker"
"""Consumer of the run requests, shared by all workers."""

REQUESTED = "cerebros.nas.run.requested"
CANCEL_REQUESTED = "cerebros.nas.run.cancel_requested"
STARTED = "cerebros.nas.run.started"
COMPLETED = "cerebros.nas.run.completed"
FAILED = "cerebros.nas.run.failed"
CANCELLED = "cerebros.nas.run.cancelled"
INTERRUPTED = "cerebros.nas.run.interrupted"
ML_START = "ml.run.start"
TRIAL = "ml.run.trial"
METRIC = "ml.run.metric"

RETRY_HEADER = "Cerebros-Retry"
RETRY_FAILED = "failed"
"""In the header of a request: only the failed trials again, even of a run that completed."""

DATASCHEMA = {
    REQUESTED: "cerebros:RunRequested:2:424c419767afe1f6",
    CANCEL_REQUESTED: "cerebros:RunCancelRequested:1:6939bc826226972d",
}
"""Schemas of what this client publishes. A published version never changes."""

MAX_EVENT_BYTES = 512 * 1024
"""Largest event anybody writes or reads, headers not counted."""


def ce_type(subject: str) -> str:
    """CloudEvents type of what a subject carries."""
    return f"{subject}.v1"

"""Searches for neural architectures, asked for and followed over NATS.

>>> from cerebros_client import Client                                        # doctest: +SKIP
>>> with Client() as client:                                                  # doctest: +SKIP
...     run = client.submit({"dataset_id": "digits", "budget": {"max_trials": 6}})
...     for event in client.watch(run):
...         print(event.seq, event.type, event.data)
...     print(client.result(run).best_metric)
"""

from .client import AsyncClient
from .errors import (
    AvroSupportMissing,
    BrokerUnreachable,
    CerebrosError,
    InvalidRequest,
    ResultTimeout,
    RunCancelled,
    RunEnded,
    RunFailed,
    RunUnknown,
    SchemaUnknown,
    StreamMissing,
    UnreadableEvent,
)
from .listing import RunDetails, RunSummary, Trial
from .models import Event, Failure, Outcome, RunState, Submitted
from .sync import Client

__all__ = [
    "AsyncClient",
    "AvroSupportMissing",
    "BrokerUnreachable",
    "CerebrosError",
    "Client",
    "Event",
    "Failure",
    "InvalidRequest",
    "Outcome",
    "ResultTimeout",
    "RunCancelled",
    "RunDetails",
    "RunEnded",
    "RunFailed",
    "RunState",
    "RunSummary",
    "RunUnknown",
    "SchemaUnknown",
    "StreamMissing",
    "Submitted",
    "Trial",
    "UnreadableEvent",
]

"""Which runs there are: reads the registry, and the requests no worker has claimed yet. Changes nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator

from .broker import NOT_FOUND, ApiRefusal, Broker
from .connect import log
from .errors import UnreadableEvent
from .models import Event, JsonObject
from .reader import Reader
from .runs import Run, is_unclaimed, merge
from .schemas import Schemas
from .stream import Start
from .subjects import REQUESTED, RUNS_PREFIX, RUNS_STREAM, STREAM, WORKER_CONSUMER

MAX_UNCLAIMED = 10_000
"""Unclaimed requests that are listed; whoever has more has another problem."""


class Registry:
    """The runs of a broker."""

    def __init__(self, broker: Broker, schemas: Schemas) -> None:
        self._broker = broker
        self._schemas = schemas

    async def record(self, run_id: str) -> JsonObject | None:
        """What the registry has of one run."""
        value = await self._broker.last_on(RUNS_STREAM, RUNS_PREFIX + run_id)
        return _record(value) if value is not None else None

    async def find(self, run_id: str) -> Run:
        """One run; without record and request if nobody has asked for it yet."""
        settled = await self._settled()
        record = await self.record(run_id)
        if is_unclaimed(record, 2**64, is_for_failed_trials=True):
            async with contextlib.aclosing(self._requests(settled)) as requests:
                async for request in requests:
                    if request.run_id == run_id and is_unclaimed(
                        record, request.seq, is_for_failed_trials=request.is_for_failed_trials
                    ):
                        return Run(run_id, record, request)
        return Run(run_id, record)

    async def all(self) -> list[Run]:
        """Every run, oldest first."""
        settled = await self._settled()
        values = Reader(self._broker, RUNS_STREAM, [], Start())
        records: dict[str, JsonObject] = {}
        async with contextlib.aclosing(values.to_the_present()) as messages:
            async for message in messages:
                record = None if "KV-Operation" in message.headers else _record(message.payload)
                if record is not None:
                    records[message.subject] = record
        requests: list[Event] = []
        async with contextlib.aclosing(self._requests(settled)) as unclaimed:
            async for request in unclaimed:
                if len(requests) == MAX_UNCLAIMED:
                    log.warning("only the first %d unclaimed requests are listed", MAX_UNCLAIMED)
                    break
                requests.append(request)
        return merge(records.values(), requests)

    async def _settled(self) -> int:
        """Requests up to here are settled, and a worker settles no valid one of which it left no record.
        Read before the registry, so that a request claimed in between is still found on the stream."""
        try:
            info = await self._broker.api(f"CONSUMER.INFO.{STREAM}.{WORKER_CONSUMER}")
        except ApiRefusal as refusal:
            if refusal.code == NOT_FOUND:
                return 0
            raise self._broker.refused(refusal, STREAM) from refusal
        return int(info["ack_floor"]["stream_seq"])

    async def _requests(self, after: int) -> AsyncGenerator[Event, None]:
        reader = Reader(self._broker, STREAM, [REQUESTED], Start(after + 1))
        async with contextlib.aclosing(reader.to_the_present()) as messages:
            async for message in messages:
                try:
                    request = await self._schemas.decode(message)
                except UnreadableEvent as error:
                    log.debug("message %d is no request: %s", message.seq, error)
                    continue
                if isinstance(request.data.get("dataset_id"), str):
                    yield request


def _record(value: bytes) -> JsonObject | None:
    """A record; one that no run can be made of, written by a stranger, counts as absent."""
    try:
        record = json.loads(value)
        is_known = isinstance(record["run_id"], str) and isinstance(record["request_sequence"], int)
        if not (is_known and record["state"] and record["requested_at"]):
            return None
        run = Run(record["run_id"], record)
        run.summary()
        run.begin()
        return run.record
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return None

"""Follows one run to its end.

The end that counts is that of the request being served; an earlier asking's end is history. A run the
registry calls over, whose last event the stream no longer has, ends without that event.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from .broker import Broker
from .connect import log
from .decode import run_in_headers
from .envelope import header
from .errors import AvroSupportMissing, SchemaUnknown, UnreadableEvent
from .models import Event
from .reader import Reader
from .registry import Registry
from .runs import Run
from .schemas import Schemas
from .stream import Message, Start
from .subjects import EVENTS, STREAM

LOOK_SECONDS = 10.0
"""While nothing comes, the registry is asked this often whether the run is over."""


class Follower:
    """The events of one run from ``start`` on."""

    def __init__(self, broker: Broker, registry: Registry, schemas: Schemas, run: Run, start: Start) -> None:
        self._broker = broker
        self._registry = registry
        self._schemas = schemas
        self._run = run
        self._start = start
        self._was_over = run.is_over
        self._is_over = run.is_over
        self._looked_at = time.monotonic() if run.is_over else float("-inf")

    async def to_the_end(self, subjects: Sequence[str] = EVENTS) -> AsyncGenerator[Event, None]:
        """Every event in order, and nothing behind the one that ends the run."""
        reader = Reader(self._broker, STREAM, subjects, self._start)
        async with contextlib.aclosing(reader.following()) as messages:
            async for message in messages:
                if message is None:
                    if self._is_over:
                        return
                    await self._look()
                    continue
                event = await self._of_this_run(message)
                if event is not None:
                    yield event
                    if event.is_terminal and event.seq >= self._run.request_sequence:
                        return
                # All there ever is was there before we came.
                if self._was_over and message.pending == 0:
                    return

    async def to_the_present(self, subjects: Sequence[str] = EVENTS) -> AsyncGenerator[Event, None]:
        """Every event the stream holds now."""
        reader = Reader(self._broker, STREAM, subjects, self._start)
        async with contextlib.aclosing(reader.to_the_present()) as messages:
            async for message in messages:
                event = await self._of_this_run(message)
                if event is not None:
                    yield event

    async def _look(self) -> None:
        """Is the run over? The end is announced before the registry has it: whoever reads of it here and then
        hears that the stream has nothing more has missed no event."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        found = replace(self._run, record=await self._registry.record(self._run.run_id), request=None)
        self._is_over = found.is_over and found.request_sequence >= self._run.request_sequence

    async def _of_this_run(self, message: Message) -> Event | None:
        run_id = self._run.run_id
        said = run_in_headers(message)
        if said is not None and said != run_id:
            return None
        try:
            event = await self._schemas.decode(message)
        except (AvroSupportMissing, SchemaUnknown):
            if run_id in (said, header(message.headers, "ce-subject")):
                raise
            log.warning("message %d is in Avro, cannot be read here, and is left out", message.seq)
            return None
        except UnreadableEvent as error:
            # The classifier makes a dead letter of it.
            log.debug("message %d is no event: %s", message.seq, error)
            return None
        return event if event.run_id == run_id else None

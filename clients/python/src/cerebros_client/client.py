"""The client for asyncio. What its methods do is said here; `Client` has the same ones without asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

from . import envelope, ids, outcome, runs, target
from .broker import Broker
from .errors import ResultTimeout, RunUnknown
from .follow import Follower
from .listing import RunDetails, RunSummary
from .models import TERMINAL_SUBJECTS, Event, Outcome, RunState, Submitted
from .progress import Progress
from .publish import publish
from .registry import Registry
from .schemas import Schemas
from .spec import spec_with_id, state_named, wanted_until
from .stream import Start
from .subjects import CANCEL_REQUESTED, REQUESTED, STARTED, TRIAL

PATIENCE_SECONDS = 30.0
"""How long the broker may be away before a call gives up."""


class AsyncClient:
    """A connection to a broker, and the runs on it.

    Args:
        url: Of the broker; several with commas. By default ``NATS_URL``, else the running local stack of
            the working directory (``./.cerebros/endpoints.json``), else ``nats://127.0.0.1:4222``.
        creds: A credentials file; by default ``NATS_CREDS``.
        user: With ``password``; by default ``NATS_USER`` and ``NATS_PASSWORD``.
        patience: Seconds the broker may be away before a call gives up.

    Use it with ``async with``, or call :meth:`close`. It connects on entry, or with its first call.

    Every method raises :class:`BrokerUnreachable` when the broker is away for longer than ``patience``, and
    :class:`StreamMissing` when nothing of the product was ever started on it.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        creds: str | os.PathLike[str] | None = None,
        user: str | None = None,
        password: str | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.target = target.resolve(url, creds=creds, user=user, password=password)
        self._broker = Broker(self.target, patience=patience)
        self._schemas = Schemas(self._broker)
        self._registry = Registry(self._broker, self._schemas)

    async def __aenter__(self) -> AsyncClient:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Connects now, so that a broker that is not there is known now."""
        await self._broker.connection()

    async def close(self) -> None:
        """Closes the connection. What was submitted goes on."""
        await self._broker.close()

    async def submit(
        self, spec: Mapping[str, Any], *, run_id: str | None = None, expires: float | None = None
    ) -> Submitted:
        """Asks for a run and waits until the broker has the request.

        Args:
            spec: The request; ``{"dataset_id": "digits"}`` is one.
            run_id: Identity of the run; also taken from the spec; a new one by default.
            expires: Seconds the request may wait for a worker (None: as long as it takes). One that is taken
                later is not carried out: the run fails as ``expired``.

        Returns:
            The run id. Its ``is_duplicate`` says that the run had been submitted before, under this id, and
            that nothing was published now.

        Raises:
            InvalidRequest: The spec is no JSON object or names no data set, the run id is none, or the
                request cannot expire in that time.
        """
        request = spec_with_id(spec, run_id)
        wanted_until(expires, datetime.now(timezone.utc))
        run = request["run_id"]
        if run_id is not None or spec.get("run_id") is not None:
            known = await self._registry.find(run)
            if known.is_submitted:
                return Submitted(run, sequence=known.request_sequence, is_duplicate=True)
        correlation_id = request.get("correlation_id")
        published = await self._publish(
            REQUESTED, run, request, correlation_id=correlation_id, expires=expires
        )
        return Submitted(run, sequence=published[0], is_duplicate=published[1])

    async def watch(self, run: str, *, since_seq: int | None = None) -> AsyncGenerator[Event, None]:
        """The events of a run from its beginning to the one that ends it, each once and in order.

        It survives a lost connection and a restart of the broker. An interruption is no end. A run nobody
        has asked for yet is waited for.

        Args:
            run: The run id.
            since_seq: Only what came after this sequence: goes on where another watch stopped.

        Raises:
            UnreadableEvent: An event is in Avro and cannot be decoded here; says the remedy.
        """
        found = await self._registry.find(ids.check(run))
        follower = self._follower(found, found.begin().behind(since_seq))
        async with contextlib.aclosing(follower.to_the_end()) as events:
            async for event in events:
                yield event

    async def result(self, run: str, *, timeout: float | None = None) -> Outcome:
        """Waits for the end of a run, ``timeout`` seconds at most (None: as long as it takes).

        Raises:
            RunFailed: It failed; the error has the failure and the outcome.
            RunCancelled: Somebody ended it.
            ResultTimeout: It has not ended in time. It goes on.
        """
        try:
            ended = await asyncio.wait_for(self._end_of(ids.check(run)), timeout)
        except asyncio.TimeoutError as error:
            raise ResultTimeout(
                f"run {run} has not ended within {timeout:g} s",
                help="it goes on: call again to wait longer, or cancel it; if it never starts, look for a "
                "worker (`cerebros doctor`) and for dead letters (`cerebros dlq list`)",
            ) from error
        return outcome.successful(ended)

    async def cancel(self, run: str, reason: str | None = None) -> bool:
        """Asks for the end of a run; it ends as soon as a worker sees that. Asking twice is asking once.

        Returns:
            False if the run was over already and nothing was asked.

        Raises:
            RunUnknown: There is no such run.
        """
        found = await self._get(run)
        if found.is_over:
            return False
        request = {"run_id": found.run_id, "reason": reason}
        await self._publish(CANCEL_REQUESTED, found.run_id, request, attempt=found.attempt)
        return True

    async def list(self, state: RunState | str | None = None) -> list[RunSummary]:
        """The runs there are, oldest first: those in one state, or all.

        Raises:
            InvalidRequest: There is no such state.
        """
        wanted = state_named(state)
        summaries = [run.summary() for run in await self._registry.all()]
        return [summary for summary in summaries if wanted is None or summary.state is wanted]

    async def show(self, run: str) -> RunDetails:
        """One run with its request, its counts and its trials.

        Raises:
            RunUnknown: There is no such run.
        """
        found = await self._get(run)
        progress = Progress()
        follower = self._follower(found, found.begin())
        subjects = [REQUESTED, STARTED, TRIAL, *TERMINAL_SUBJECTS]
        async with contextlib.aclosing(follower.to_the_present(subjects)) as events:
            async for event in events:
                progress.apply(event)
        return runs.details(found, progress)

    def _follower(self, run: runs.Run, start: Start) -> Follower:
        return Follower(self._broker, self._registry, self._schemas, run, start)

    async def _end_of(self, run: str) -> Outcome:
        found = await self._registry.find(run)
        start = found.begin().behind(found.request_sequence - 1 if found.request_sequence else None)
        end = None
        async with contextlib.aclosing(self._follower(found, start).to_the_end(TERMINAL_SUBJECTS)) as events:
            async for event in events:
                end = event
        if end is not None and end.seq >= found.request_sequence:
            return outcome.of_event(end)
        record = await self._registry.record(run)
        if record is None:
            raise RunUnknown(f"run {run} is over and nothing remembers how")
        return outcome.of_record(record)

    async def _get(self, run: str) -> runs.Run:
        found = await self._registry.find(ids.check(run))
        if found.record is None and found.request is None:
            raise RunUnknown(
                f"there is no run {run} on the broker at {self.target.shown}",
                help="list() and `producer list` show the runs there are",
            )
        return found

    async def _publish(
        self,
        subject: str,
        run: str,
        event: Mapping[str, Any],
        *,
        attempt: int = 0,
        correlation_id: str | None = None,
        expires: float | None = None,
    ) -> tuple[int, bool]:
        now = datetime.now(timezone.utc)
        headers = envelope.headers(
            subject,
            run,
            attempt=attempt,
            correlation_id=correlation_id,
            now=now,
            expires=wanted_until(expires, now),
        )
        body = envelope.payload(event)
        published = await publish(self._broker, subject, body, headers, patience=self._broker.patience)
        return published.sequence, published.is_duplicate

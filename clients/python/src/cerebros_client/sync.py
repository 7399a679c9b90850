"""The client for everybody else: the same methods, carried out by an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import builtins
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, TypeVar

from .client import PATIENCE_SECONDS, AsyncClient
from .errors import CerebrosError
from .listing import RunDetails, RunSummary
from .models import Event, Outcome, RunState, Submitted

CLOSE_SECONDS = 10.0
"""How long closing may take; then the thread is left to the end of the program."""
_T = TypeVar("_T")


class Client:
    """A connection to a broker, and the runs on it, without asyncio.

    Arguments, methods and errors are those of :class:`~cerebros_client.AsyncClient`. Use it with ``with``, or
    call :meth:`close`. It may be used by several threads.
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
        self._client = AsyncClient(url, creds=creds, user=user, password=password, patience=patience)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cerebros-client", daemon=True)
        self._thread.start()
        self._is_closed = False

    def __enter__(self) -> Client:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self) -> None:
        """See :meth:`AsyncClient.connect`."""
        self._run(self._client.connect())

    def close(self) -> None:
        """See :meth:`AsyncClient.close`. Closing twice is no error."""
        if self._is_closed:
            return
        try:
            self._run(asyncio.wait_for(self._client.close(), CLOSE_SECONDS))
        finally:
            self._is_closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_SECONDS)
            if not self._thread.is_alive():
                self._loop.close()

    def submit(self, spec: Mapping[str, Any], *, run_id: str | None = None) -> Submitted:
        """See :meth:`AsyncClient.submit`."""
        return self._run(self._client.submit(spec, run_id=run_id))

    def watch(self, run: str, *, since_seq: int | None = None) -> Generator[Event, None, None]:
        """See :meth:`AsyncClient.watch`."""
        events = self._client.watch(run, since_seq=since_seq)
        try:
            while (event := self._run(_next(events))) is not None:
                yield event
        finally:
            if not self._is_closed:
                self._run(events.aclose())

    def result(self, run: str, *, timeout: float | None = None) -> Outcome:
        """See :meth:`AsyncClient.result`."""
        return self._run(self._client.result(run, timeout=timeout))

    def cancel(self, run: str, reason: str | None = None) -> bool:
        """See :meth:`AsyncClient.cancel`."""
        return self._run(self._client.cancel(run, reason))

    def list(self, state: RunState | str | None = None) -> builtins.list[RunSummary]:
        """See :meth:`AsyncClient.list`."""
        return self._run(self._client.list(state))

    def show(self, run: str) -> RunDetails:
        """See :meth:`AsyncClient.show`."""
        return self._run(self._client.show(run))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Carries out ``work`` in the loop; whatever ends the waiting, such as Ctrl-C, ends the work."""
        if self._is_closed:
            work.close()
            raise CerebrosError("the client is closed", help="make another one")
        has_ended = threading.Event()

        async def carry_out() -> _T:
            try:
                return await work
            finally:
                has_ended.set()

        future = asyncio.run_coroutine_threadsafe(carry_out(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            # Whoever calls next, such as the end of a watch, must not meet it half way.
            has_ended.wait(CLOSE_SECONDS)
            raise


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)

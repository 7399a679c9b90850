"""The client for everybody else: the same methods, carried out by an event loop in a thread of its own."""

from __future__ import annotations

import builtins
import os
import weakref
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, TypeVar

from .client import PATIENCE_SECONDS, AsyncClient
from .listing import RunDetails, RunSummary
from .loop import LoopThread
from .models import Event, Outcome, RunState, Submitted

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
        self._thread = LoopThread()
        # Also of a client nobody closes: neither the thread nor what it works on knows the client.
        self._end = weakref.finalize(self, self._thread.end, self._client.close)
        self._end.atexit = False

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
        """See :meth:`AsyncClient.close`. Calls that other threads wait for raise :class:`CerebrosError`.

        Closing twice is no error.
        """
        self._end()
        self._thread.join()

    def submit(
        self, spec: Mapping[str, Any], *, run_id: str | None = None, expires: float | None = None
    ) -> Submitted:
        """See :meth:`AsyncClient.submit`."""
        return self._run(self._client.submit(spec, run_id=run_id, expires=expires))

    def watch(self, run: str, *, since_seq: int | None = None) -> Generator[Event, None, None]:
        """See :meth:`AsyncClient.watch`."""
        events = self._client.watch(run, since_seq=since_seq)
        try:
            while (event := self._run(_next(events))) is not None:
                yield event
        finally:
            self._thread.leave(events)

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
        return self._thread.run(work)


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)

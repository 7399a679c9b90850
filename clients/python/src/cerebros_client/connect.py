"""Opens the connection. It is never given up then: readers and requests have deadlines of their own."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import nats.errors
from nats.aio.client import Client as Connection

from .target import Target

log = logging.getLogger("cerebros_client")

PAUSE_SECONDS = 0.2
"""Pause between two tries."""
_ATTEMPT_SECONDS = 2
_CANCELLATIONS = 50
_AGAIN_SECONDS = 0.1


class Ears:
    """Hears the errors that belong to no call: a lost connection, a permission we lack."""

    def __init__(self) -> None:
        self.heard: str | None = None
        """The last one."""
        self.losses = 0
        """How often the connection was lost; what was asked over it before may never be answered."""
        self._refused = asyncio.Event()

    async def hear(self, error: Exception) -> None:
        """Remembers an error."""
        self.heard = str(error) or type(error).__name__
        log.debug("the connection to the broker: %s", self.heard)
        if "authorization" in self.heard.lower() or "authentication" in self.heard.lower():
            self._refused.set()

    async def lose(self) -> None:
        """Counts a lost connection."""
        self.losses += 1

    async def until_refused(self) -> None:
        """Waits until the broker has said who we are not; trying again does not help then."""
        await self._refused.wait()
        raise nats.errors.Error(self.heard or "refused")


async def open_connection(target: Target, ears: Ears, seconds: float) -> Connection:
    """A connection to the broker.

    Raises:
        asyncio.TimeoutError: Nobody answered for ``seconds``; ``ears`` heard why.
        OSError, ValueError, nats.errors.Error: We are refused, or the target cannot be understood.
    """
    connection = Connection()
    opening = asyncio.ensure_future(
        connection.connect(
            servers=target.servers,
            name="cerebros-client",
            user=target.user,
            password=target.password,
            user_credentials=target.creds,
            connect_timeout=_ATTEMPT_SECONDS,
            reconnect_time_wait=PAUSE_SECONDS,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            error_cb=ears.hear,
            disconnected_cb=ears.lose,
        )
    )
    refused = asyncio.ensure_future(ears.until_refused())
    try:
        done, _ = await asyncio.wait({opening, refused}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise asyncio.TimeoutError
        for task in done:
            task.result()
    except BaseException:
        await end_tasks({opening})
        await close_connection(connection)
        raise
    finally:
        refused.cancel()
        await asyncio.gather(refused, return_exceptions=True)
    ears.heard = None
    return connection


async def close_connection(connection: Connection) -> None:
    """Closes a connection, in whatever state it is, and raises nothing.

    In a task of its own: the library cancels what it waits for while it tries to reconnect, and when its
    close comes upon that, it ends as if we had been cancelled. And it cancels its tasks once: one that
    swallows that would try to reconnect for ever, and whoever ends the loop would wait for it.
    """
    closing = asyncio.ensure_future(connection.close())
    await asyncio.wait({closing})
    if not closing.cancelled() and (error := closing.exception()) is not None:
        log.debug("closing the connection: %r", error)
    await end_tasks({task for task in asyncio.all_tasks() if _works_for(task) is connection})


async def end_tasks(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancels tasks until they are over: before Python 3.12, ``asyncio.wait_for`` swallows a cancellation
    that comes together with a result."""
    for _ in range(_CANCELLATIONS):
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        done, tasks = await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # an outage; whoever ends it has no use for it
    log.debug("%d tasks of a closed connection do not end", len(tasks))


def _works_for(task: asyncio.Task[Any]) -> object:
    """The object whose method a task carries out."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame.f_locals.get("self") if frame is not None else None

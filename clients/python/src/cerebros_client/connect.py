"""Opens the connection. It is never given up then: readers and requests have deadlines of their own."""

from __future__ import annotations

import asyncio
import logging

import nats.errors
from nats.aio.client import Client as Connection

from .target import Target

log = logging.getLogger("cerebros_client")

PAUSE_SECONDS = 0.2
"""Pause between two tries."""
_ATTEMPT_SECONDS = 2


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
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
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
    close comes upon that, it ends as if we had been cancelled.
    """
    closing = asyncio.ensure_future(connection.close())
    await asyncio.wait({closing})
    if not closing.cancelled() and (error := closing.exception()) is not None:
        log.debug("closing the connection: %r", error)

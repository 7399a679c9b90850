"""The connection: opened once, kept through outages, and asked with a deadline.

Every failure of the library underneath becomes one of :mod:`.errors` here and nowhere else. A request
that found the broker away is repeated until the client's patience ends; requests are idempotent, so
that repeating one is safe.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import nats.errors
from nats.aio.client import Client as Connection
from nats.aio.subscription import Subscription

from .connect import PAUSE_SECONDS, Ears, close_connection, log, open_connection
from .errors import BrokerUnreachable, CerebrosError, StreamMissing
from .models import JsonObject
from .target import Target

CONNECT_SECONDS = 10.0
"""How long the first connection may take."""
ANSWER_SECONDS = 3.0
"""How long one request waits for its answer before it is repeated."""
PENDING_BYTES = 64 * 1024 * 1024
"""What a subscription may hold that nobody has read yet."""

NOT_FOUND = 404
_NOT_NOW = 503
"""What a broker that is still starting answers."""
_NO_MESSAGE = 10037
_NO_STREAM = 10059
_T = TypeVar("_T")


class ApiRefusal(Exception):
    """The broker answered a request with an error."""

    def __init__(self, error: JsonObject) -> None:
        super().__init__(str(error.get("description", error)))
        self.code = error.get("code")
        self.number = error.get("err_code")


class Broker:
    """A connection to a broker. ``patience`` is in seconds."""

    def __init__(self, target: Target, *, patience: float) -> None:
        self.target = target
        self.patience = patience
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()
        self._ears = Ears()

    async def connection(self) -> Connection:
        """The connection, opened now if it was not yet.

        Raises:
            BrokerUnreachable: Nobody answers there, or we are refused.
        """
        async with self._opening:
            if self._connection is None:
                self._connection = await self._open()
            if self._connection.is_closed:
                raise self.unreachable("the connection is closed")
            return self._connection

    async def close(self) -> None:
        """Closes the connection and raises nothing; closing twice is no error."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed:
            await close_connection(connection)

    @property
    def losses(self) -> int:
        """How often the connection was lost; what was asked before the last time may never be answered."""
        return self._ears.losses

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None = None, *, seconds: float
    ) -> JsonObject:
        """One request, its answer parsed.

        Raises:
            ApiRefusal: The broker said no.
            OSError, nats.errors.Error, asyncio.TimeoutError: It said nothing.
        """
        connection = await self.connection()
        if not connection.is_connected:
            raise nats.errors.StaleConnectionError  # rather than wait behind what nobody may ever answer
        given = dict(headers) if headers else None
        message = await connection.request(subject, body, timeout=seconds, headers=given)
        answer: JsonObject = json.loads(message.data)
        if "error" in answer:
            if answer["error"].get("code") == _NOT_NOW:
                raise nats.errors.Error(answer["error"].get("description", "not now"))
            raise ApiRefusal(answer["error"])
        return answer

    async def api(self, call: str, body: JsonObject | None = None) -> JsonObject:
        """A call of the JetStream API, such as ``STREAM.INFO.CEREBROS``, repeated through an outage.

        Raises:
            ApiRefusal: The broker said no.
            BrokerUnreachable: It said nothing for as long as we are patient.
        """
        written = json.dumps(body).encode() if body else b""
        return await self.insist(
            lambda seconds: self.request(f"$JS.API.{call}", written, seconds=seconds), self.patience
        )

    async def insist(self, attempt: Callable[[float], Awaitable[_T]], patience: float) -> _T:
        """Makes attempts until one is answered, ``patience`` seconds long at most."""
        end = time.monotonic() + patience
        while True:
            left = end - time.monotonic()
            try:
                return await attempt(max(0.01, min(left, ANSWER_SECONDS)))
            except BrokerUnreachable:
                raise
            except nats.errors.ConnectionClosedError as error:
                raise self.unreachable(str(error)) from error
            except (OSError, nats.errors.Error, asyncio.TimeoutError) as error:
                if time.monotonic() + PAUSE_SECONDS >= end:
                    raise self.unreachable(self.cause(error), patience) from error
                log.debug("the broker did not answer, trying again: %s", error)
            await asyncio.sleep(PAUSE_SECONDS)

    async def last_on(self, stream: str, subject: str) -> bytes | None:
        """Payload of the last message a stream keeps on a subject: a value of a key-value bucket."""
        try:
            answer = await self.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
        except ApiRefusal as refusal:
            if refusal.number == _NO_MESSAGE:
                return None
            raise self.refused(refusal, stream) from refusal
        message = answer["message"]
        if "hdrs" in message and b"KV-Operation" in base64.b64decode(message["hdrs"]):
            return None  # deleted
        return base64.b64decode(message.get("data", ""))

    async def inbox(self, limit: int) -> tuple[str, Subscription]:
        """A subject of ours alone, and what arrives there: at most ``limit`` messages unread."""
        connection = await self.connection()
        subject = connection.new_inbox()
        subscription = await connection.subscribe(
            subject, pending_msgs_limit=limit, pending_bytes_limit=PENDING_BYTES
        )
        return subject, subscription

    def refused(self, refusal: ApiRefusal, stream: str) -> CerebrosError:
        """The error behind a refusal of something about a stream."""
        if refusal.number == _NO_STREAM or refusal.code == NOT_FOUND:
            return StreamMissing(
                f"there is no stream {stream} on the broker at {self.target.shown}",
                because=str(refusal),
                help="start `cerebros up`, or a worker, once: it creates the streams",
            )
        return CerebrosError(
            f"the broker at {self.target.shown} refused",
            because=str(refusal),
            help="it must be nats-server 2.12 or later with JetStream on; `cerebros doctor` checks it",
        )

    def unreachable(self, because: str | None, patience: float | None = None) -> BrokerUnreachable:
        """The error that the broker is not there."""
        within = f" within {patience:g} s" if patience is not None else ""
        return BrokerUnreachable(
            f"the broker at {self.target.shown} did not answer{within}",
            because=because or self._ears.heard,
            help="start one with `cerebros up`, or name another with NATS_URL "
            f"(this one was named by {self.target.origin})",
        )

    def cause(self, error: BaseException) -> str:
        """Why nobody answered, in the most telling words there are."""
        if isinstance(error, nats.errors.NoRespondersError):
            return "nobody serves JetStream there (yet)"
        return self._ears.heard or str(error) or type(error).__name__

    async def _open(self) -> Connection:
        patience = min(self.patience, CONNECT_SECONDS)
        try:
            return await open_connection(self.target, self._ears, patience)
        except asyncio.TimeoutError as error:
            raise self.unreachable(self._ears.heard, patience) from error
        except (OSError, ValueError, nats.errors.Error) as error:
            raise self.unreachable(str(error)) from error

"""Reads a stream in order, without consuming it: every message once, across lost connections.

A pull consumer of our own, which keeps nothing on disk, hands out bounded batches. The broker sends
heartbeats while there is nothing; when they stop, when a message is missing between two, or when the
consumer is gone because the broker restarted, another consumer goes on behind the last message seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import nats.errors
import nats.nuid
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from .broker import ApiRefusal, Broker
from .connect import PAUSE_SECONDS, log
from .errors import BrokerUnreachable
from .stream import Message, Start
from .times import from_nanoseconds

BATCH = 256
"""Messages asked for at once."""
BATCH_BYTES = 8 * 1024 * 1024
"""Bytes asked for at once: many times the largest message."""
PULL_SECONDS = 20.0
"""How long the broker keeps one request for messages open."""
HEARTBEAT_SECONDS = 2.0
"""How often it says that it is still there."""
SILENCE_SECONDS = 2.5 * HEARTBEAT_SECONDS
"""Silence after which the consumer is given up."""
LOOK_SECONDS = 0.5
"""While nothing comes, it is looked this often whether the connection was lost."""
FORGOTTEN_SECONDS = 60.0
"""After this long without us the broker removes the consumer."""

_NANOSECONDS = 1_000_000_000
_ENDED = ("404", "408")
_FULL = "message size exceeds maxbytes"
_COMPLETED = "batch completed"


class _Lost(Exception):
    """The consumer has to be made anew."""


@dataclass(frozen=True)
class _Arrived:
    """A message, or a heartbeat without one."""

    message: Message | None


class Reader:
    """Messages of ``stream`` on ``subjects`` (all when empty) from ``start`` on."""

    def __init__(self, broker: Broker, stream: str, subjects: Sequence[str], start: Start) -> None:
        self.pending = 0
        """Messages the stream held behind the last one, as of then."""
        self._broker = broker
        self._stream = stream
        self._subjects = list(subjects)
        self._start = start
        self._consumer_sequence = 0
        self._losses = 0

    async def to_the_present(self) -> AsyncGenerator[Message, None]:
        """What the stream holds now."""
        async with contextlib.aclosing(self.following()) as messages:
            async for message in messages:
                if message is not None:
                    yield message
                if self.pending == 0:
                    return

    async def following(self) -> AsyncGenerator[Message | None, None]:
        """What the stream holds, and then what comes. None whenever it is known that nothing is there:
        after opening an empty one, and with every heartbeat.

        Raises:
            BrokerUnreachable: The broker was away for longer than the client is patient.
            StreamMissing: There is no such stream.
        """
        lost_at: float | None = None
        while True:
            name = nats.nuid.NUID().next().decode()
            try:
                await self._create(name)
                async with contextlib.aclosing(self._pull(name)) as messages:
                    async for message in messages:
                        lost_at = None
                        yield message
            except BrokerUnreachable:
                raise
            except (_Lost, OSError, nats.errors.Error, asyncio.TimeoutError) as error:
                now = time.monotonic()
                lost_at = lost_at if lost_at is not None else now
                log.debug("reading %s anew: %s", self._stream, error)
                if now - lost_at >= self._broker.patience:
                    raise self._broker.unreachable(self._broker.cause(error)) from error
            await asyncio.sleep(PAUSE_SECONDS)

    async def _create(self, name: str) -> None:
        config = {
            "name": name,
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(FORGOTTEN_SECONDS * _NANOSECONDS),
            "filter_subjects": self._subjects,
            **self._start.policy(),
        }
        body = {"stream_name": self._stream, "config": config, "action": "create"}
        self._losses = self._broker.losses
        try:
            answer = await self._broker.api(f"CONSUMER.CREATE.{self._stream}.{name}", body)
        except ApiRefusal as refusal:
            raise self._broker.refused(refusal, self._stream) from refusal
        self.pending = answer["num_pending"]
        self._consumer_sequence = 0

    async def _pull(self, name: str) -> AsyncGenerator[Message | None, None]:
        inbox, subscription = await self._broker.inbox(2 * BATCH)
        try:
            if self.pending == 0:
                yield None
            while True:
                await self._ask(name, inbox)
                left = BATCH
                while left and (arrived := await self._next(subscription)):
                    left -= arrived.message is not None
                    yield arrived.message
        finally:
            with contextlib.suppress(OSError, nats.errors.Error):
                await subscription.unsubscribe()
            await self._forget(name)

    async def _ask(self, name: str, inbox: str) -> None:
        request = {
            "batch": BATCH,
            "max_bytes": BATCH_BYTES,
            "expires": int(PULL_SECONDS * _NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * _NANOSECONDS),
        }
        connection = await self._broker.connection()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{name}"
        await connection.publish(subject, json.dumps(request).encode(), reply=inbox)

    async def _next(self, subscription: Subscription) -> _Arrived | None:
        """What came next; None is the end of the request."""
        while True:
            arrived = await self._hear(subscription)
            status = (arrived.headers or {}).get("Status")
            if status is None:
                return _Arrived(self._message(arrived))
            if status == "100":
                return _Arrived(None)
            description = (arrived.headers or {}).get("Description", "")
            if description.lower() == _COMPLETED:
                continue  # said of a request whose last message we have seen, and have asked again since
            if status in _ENDED or description.lower() == _FULL:
                return None
            raise _Lost(f"{status} {description}")

    async def _hear(self, subscription: Subscription) -> Msg:
        """What comes next, or the knowledge that nothing will."""
        end = time.monotonic() + SILENCE_SECONDS
        while time.monotonic() < end:
            try:
                return await subscription.next_msg(timeout=LOOK_SECONDS)
            except asyncio.TimeoutError:
                if self._broker.losses != self._losses:
                    break
        raise _Lost("the heartbeats stopped")

    def _message(self, arrived: Msg) -> Message:
        sequence, consumer_sequence, nanoseconds, pending = _place(arrived.reply)
        if consumer_sequence != self._consumer_sequence + 1:
            raise _Lost("a message is missing")
        self._consumer_sequence = consumer_sequence
        self._start = Start(sequence + 1)
        self.pending = pending
        return Message(
            seq=sequence,
            subject=arrived.subject,
            time=from_nanoseconds(nanoseconds),
            headers=arrived.headers or {},
            payload=arrived.data,
            pending=pending,
        )

    async def _forget(self, name: str) -> None:
        """Spares the broker a consumer nobody reads; it would remove it itself a little later."""
        with contextlib.suppress(Exception):
            connection = await self._broker.connection()
            await connection.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}", b"")


def _place(reply: str) -> tuple[int, int, int, int]:
    """Stream sequence, consumer sequence, time in nanoseconds and messages pending, as the subject for
    the acknowledgement has them: behind nine tokens, or eleven and more with a domain."""
    tokens = reply.split(".")
    first = 5 if len(tokens) == 9 else 7
    sequence, consumer_sequence, nanoseconds, pending = map(int, tokens[first : first + 4])
    return sequence, consumer_sequence, nanoseconds, pending

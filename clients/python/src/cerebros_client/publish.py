"""Publishes a message and waits until the broker has it.

A publish that was not confirmed is unknown, not failed: it is repeated under the same message id, which
the broker drops if the first had arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import nats.errors

from .broker import ApiRefusal, Broker
from .models import JsonObject
from .subjects import STREAM


@dataclass(frozen=True)
class Published:
    """What the broker confirmed."""

    sequence: int
    is_duplicate: bool
    """True if the broker already had a message with this id, from somebody else or an earlier call."""


async def publish(
    broker: Broker, subject: str, body: bytes, headers: Mapping[str, str], *, patience: float
) -> Published:
    """Publishes until it is confirmed, ``patience`` seconds long at most.

    Raises:
        BrokerUnreachable: It was not confirmed in time; doing it again is safe.
        StreamMissing: Nothing stores the message.
        CerebrosError: The broker refused it.
    """
    attempts = 0

    async def attempt(seconds: float) -> JsonObject:
        nonlocal attempts
        attempts += 1
        try:
            return await broker.request(subject, body, headers, seconds=seconds)
        except nats.errors.NoRespondersError:
            # Either there is no stream, which this asks, or the broker is still starting.
            await broker.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", seconds=seconds)
            raise

    try:
        answer = await broker.insist(attempt, patience)
    except ApiRefusal as refusal:
        raise broker.refused(refusal, STREAM) from refusal
    return Published(answer["seq"], bool(answer.get("duplicate")) and attempts == 1)

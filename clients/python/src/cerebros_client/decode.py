"""From a message of the stream to an event. Pure: it asks for a schema by raising :class:`NeedsSchema`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import avro, envelope, ids, values
from .errors import UnreadableEvent
from .models import Event, JsonObject
from .stream import Message
from .subjects import MAX_EVENT_BYTES, REQUESTED, RETRY_FAILED, RETRY_HEADER, STREAM, ce_type
from .times import EPOCH


class NeedsSchema(Exception):
    """The message can be decoded with this schema only."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__(fingerprint)
        self.fingerprint = fingerprint


def run_in_headers(message: Message) -> str | None:
    """The run a message says it belongs to; saves decoding the events of all others."""
    return envelope.header(message.headers, "Cerebros-Run-Id")


def event(message: Message, schemas: Mapping[str, Any]) -> Event:
    """The event in a message.

    Args:
        message: What the stream has.
        schemas: Compiled schemas by fingerprint, as far as they are known.

    Raises:
        NeedsSchema: The payload is in Avro, of a schema that is not in ``schemas``.
        UnreadableEvent: It is no event.
    """
    if len(message.payload) > MAX_EVENT_BYTES:
        raise UnreadableEvent(f"its {len(message.payload)} bytes are over the limit of {MAX_EVENT_BYTES}")
    encoding, body = envelope.content(message.headers, message.payload)
    if encoding == envelope.AVRO:
        fingerprint = avro.fingerprint(body)
        if fingerprint not in schemas:
            raise NeedsSchema(fingerprint)
        data = values.from_avro(avro.read(body, schemas[fingerprint]))
    else:
        data = values.from_json(message.subject, _object(body))
    run_id = data.get("run_id") or _derived(message, data)
    if not isinstance(run_id, str):
        raise UnreadableEvent("it names no run")
    return Event(
        seq=message.seq,
        subject=message.subject,
        time=message.time,
        run_id=run_id,
        type=ce_type(message.subject),
        data=data,
        is_for_failed_trials=envelope.header(message.headers, RETRY_HEADER) == RETRY_FAILED,
    )


def _object(body: bytes) -> JsonObject:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableEvent("its payload is no JSON", because=str(error)) from error
    if not isinstance(data, dict):
        raise UnreadableEvent("its payload is no JSON object")
    return data


def _derived(message: Message, data: JsonObject) -> str | None:
    """A request may leave its run id to whoever reads it."""
    if message.subject != REQUESTED or not isinstance(data.get("dataset_id"), str):
        return None
    since_epoch = message.time - EPOCH
    millis = (since_epoch.days * 86_400 + since_epoch.seconds) * 1000 + since_epoch.microseconds // 1000
    return ids.derive(STREAM, message.seq, millis)

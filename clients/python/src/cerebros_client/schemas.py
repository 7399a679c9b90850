"""Decodes messages, fetching the schemas of those in Avro from the broker's bucket."""

from __future__ import annotations

from typing import Any

from . import avro, decode
from .broker import Broker
from .errors import SchemaUnknown, StreamMissing
from .models import Event
from .stream import Message
from .subjects import SCHEMAS_PREFIX, SCHEMAS_STREAM

MAX_SCHEMAS = 256
"""Compiled schemas remembered; there are twelve records."""


class Schemas:
    """The schemas seen so far, by fingerprint."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._known: dict[str, Any] = {}

    async def decode(self, message: Message) -> Event:
        """The event in a message.

        Raises:
            AvroSupportMissing: It is in Avro and fastavro is not installed.
            SchemaUnknown: It is in Avro and the broker does not have its schema.
            UnreadableEvent: It is no event.
        """
        try:
            return decode.event(message, self._known)
        except decode.NeedsSchema as needs:
            fingerprint = needs.fingerprint
        if len(self._known) >= MAX_SCHEMAS:
            self._known.pop(next(iter(self._known)))
        self._known[fingerprint] = await self._fetch(fingerprint)
        return decode.event(message, self._known)

    async def _fetch(self, fingerprint: str) -> Any:
        try:
            text = await self._broker.last_on(SCHEMAS_STREAM, SCHEMAS_PREFIX + fingerprint)
        except StreamMissing as error:
            raise _unknown(fingerprint, error.what) from error
        if text is None:
            raise _unknown(fingerprint, "the bucket cerebros_schemas has no such key")
        return avro.compile_schema(text.decode(errors="replace"), fingerprint)


def _unknown(fingerprint: str, because: str) -> SchemaUnknown:
    return SchemaUnknown(
        f"the event is written in Avro with the schema {fingerprint}, which the broker does not have",
        because=because,
        help="start a service of the version that wrote it once: it puts its schemas into the bucket; "
        "or let it write JSON",
    )

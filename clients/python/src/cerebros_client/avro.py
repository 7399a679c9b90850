"""Avro single-object encoding: ``C3 01``, eight bytes that name the schema, the value.

Nothing here talks to the broker: whoever decodes brings the text of the schema. The library that
reads values, fastavro, is the extra ``avro`` and is looked for only when a value is in Avro.
"""

from __future__ import annotations

import io
import json
from typing import Any

from .errors import AvroSupportMissing, SchemaUnknown, UnreadableEvent
from .models import JsonObject

_MARKER = b"\xc3\x01"
_HEADER_BYTES = 10


def fingerprint(payload: bytes) -> str:
    """Which schema a payload was written with: 16 hex digits, most significant first.

    Raises:
        UnreadableEvent: It is not Avro single-object encoding.
    """
    if payload[:2] != _MARKER or len(payload) < _HEADER_BYTES:
        raise UnreadableEvent(
            "it is not Avro single-object encoding", because="C3 01 and eight bytes are missing"
        )
    return f"{int.from_bytes(payload[2:_HEADER_BYTES], 'little'):016x}"


def compile_schema(text: str, fingerprint: str) -> Any:
    """The schema, ready for :func:`read`.

    The fingerprint is the broker's word and is not computed again: libraries disagree about the canonical
    form of schemas with logical types.

    Raises:
        AvroSupportMissing: fastavro is not installed.
        SchemaUnknown: The text is no schema.
    """
    library = _library()
    try:
        return library.parse_schema(json.loads(text))
    except Exception as error:
        raise SchemaUnknown(
            f"what the broker has as schema {fingerprint} is no Avro schema",
            because=str(error),
            help="start a service of the version that wrote it once: it puts its schemas into the bucket",
        ) from error


def read(payload: bytes, schema: Any) -> JsonObject:
    """The value in a payload.

    Raises:
        AvroSupportMissing: fastavro is not installed.
        UnreadableEvent: The bytes are broken, or more follow.
    """
    library = _library()
    rest = io.BytesIO(payload[_HEADER_BYTES:])
    try:
        value = library.schemaless_reader(rest, schema, None)
    except Exception as error:
        raise UnreadableEvent("its Avro value is broken", because=f"{error}") from error
    if rest.read(1):
        raise UnreadableEvent("bytes follow its Avro value")
    if not isinstance(value, dict):
        raise UnreadableEvent("its Avro value is no record")
    return value


def _library() -> Any:
    try:
        import fastavro
    except ImportError as error:
        raise AvroSupportMissing(
            "the event is written in Avro, which this installation cannot read",
            because=str(error),
            help="install the extra: pip install 'cerebros-client[avro]'",
        ) from error
    return fastavro

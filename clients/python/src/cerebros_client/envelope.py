"""The envelope: CloudEvents 1.0, written in binary mode, read in every mode the contract allows. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .errors import InvalidRequest, UnreadableEvent
from .subjects import DATASCHEMA, MAX_EVENT_BYTES, ce_type
from .times import iso

SOURCE = "/cerebros/client/python"
JSON = "application/json"
AVRO = "application/avro"
_STRUCTURED = "application/cloudevents+json"
_JSON_TYPES = ("", JSON, "text/json", "text/plain")
_AVRO_TYPES = (AVRO, "avro/binary", "application/vnd.apache.avro")


def headers(
    subject: str,
    run_id: str,
    *,
    attempt: int,
    correlation_id: str | None,
    now: datetime,
    expires: datetime | None = None,
) -> dict[str, str]:
    """Headers of a message about a run. ``attempt`` 0 speaks for no attempt; a request may expire.

    The message id follows from run, attempt and kind, so that the broker drops a second copy.
    """
    message_id = f"{run_id}:{attempt}:{subject.rpartition('.')[2]}::"
    made = {
        "Nats-Msg-Id": message_id,
        "ce-specversion": "1.0",
        "ce-id": message_id,
        "ce-type": ce_type(subject),
        "ce-source": SOURCE,
        "ce-subject": run_id,
        "ce-time": iso(now),
        "ce-dataschema": DATASCHEMA[subject],
        "Content-Type": JSON,
        "Cerebros-Run-Id": run_id,
        "Cerebros-Correlation-Id": correlation_id or run_id,
    }
    if attempt:
        made["Cerebros-Attempt"] = str(attempt)
    if expires is not None:
        made["ce-expirytime"] = iso(expires)
    return made


def payload(event: Mapping[str, Any]) -> bytes:
    """The event as JSON.

    Raises:
        InvalidRequest: It is no JSON, or too large.
    """
    try:
        written = json.dumps(event, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode()
    except (TypeError, ValueError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidRequest(
            "the spec cannot be written as JSON",
            because=str(error),
            help='use plain numbers, texts, lists and dicts; write NaN as the text "NaN"',
        ) from error
    if len(written) > MAX_EVENT_BYTES:
        raise InvalidRequest(
            f"a spec of {len(written)} bytes is over the limit of {MAX_EVENT_BYTES}",
            help="put large values into a file the trainer reads",
        )
    return written


def content(given: Mapping[str, str] | None, body: bytes) -> tuple[str, bytes]:
    """Which bytes of a message are the event, and how they are written: :data:`JSON` or :data:`AVRO`.

    Raises:
        UnreadableEvent: The envelope is broken.
    """
    media_type = _essence(header(given, "Content-Type"))
    if media_type == _STRUCTURED:
        return _structured(body)
    return _encoding(media_type), body


def header(given: Mapping[str, str] | None, name: str) -> str | None:
    """The value of a header, whose name is compared without case."""
    if not given:
        return None
    if name in given:
        return given[name]
    wanted = name.lower()
    return next((value for key, value in given.items() if key.lower() == wanted), None)


def _structured(body: bytes) -> tuple[str, bytes]:
    try:
        envelope = json.loads(body)
        encoding = _encoding(_essence(envelope.get("datacontenttype")))
        if "data_base64" in envelope:
            return encoding, base64.b64decode(envelope["data_base64"], validate=True)
        return encoding, json.dumps(envelope["data"]).encode()
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, binascii.Error) as error:
        raise UnreadableEvent("it is no CloudEvent in structured mode", because=str(error)) from error


def _essence(media_type: str | None) -> str:
    return (media_type or "").partition(";")[0].strip().lower()


def _encoding(media_type: str) -> str:
    if media_type in _AVRO_TYPES:
        return AVRO
    if media_type in _JSON_TYPES or (media_type.startswith("application/") and media_type.endswith("+json")):
        return JSON
    raise UnreadableEvent(f"Content-Type {media_type!r} is not understood")

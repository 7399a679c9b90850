"""Run ids: what is one, a new one, and the one of a request that names none."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import uuid
from datetime import datetime

from .errors import InvalidRequest
from .times import from_nanoseconds

_LEGAL = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9._-]{1,128}(?<!\.)", re.ASCII)


def check(run_id: str) -> str:
    """The id, if it is one.

    Raises:
        InvalidRequest: It has other characters than ``A-Z a-z 0-9 . _ -``, or dots in wrong places.
    """
    if not isinstance(run_id, str) or not _LEGAL.fullmatch(run_id):
        raise InvalidRequest(
            f"{run_id!r} is no run id",
            because="an id is 1 to 128 characters of A-Z a-z 0-9 . _ - and does not begin or end with a dot",
            help="leave it out and a new one is made",
        )
    return str(run_id)


def new() -> str:
    """A new id, a UUIDv7: ids sort by the time they were made."""
    return _uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))


def derive(stream: str, sequence: int, millis: int) -> str:
    """The id of a run whose request carried none: every reader derives the same from its place."""
    place = stream.encode() + sequence.to_bytes(8, "big") + millis.to_bytes(8, "big")
    return _uuid7(millis, hashlib.sha256(place).digest()[:10])


def made_at(run_id: str) -> datetime | None:
    """When a UUIDv7 was made; None for any other id. No event of the run can be older."""
    try:
        parsed = uuid.UUID(run_id)
    except ValueError:
        return None
    if parsed.version != 7 or str(parsed) != run_id:
        return None
    return from_nanoseconds((parsed.int >> 80) * 1_000_000)


def _uuid7(millis: int, random: bytes) -> str:
    octets = bytearray(millis.to_bytes(6, "big") + random)
    octets[6] = octets[6] & 0x0F | 0x70
    octets[8] = octets[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(octets)))

"""A message of a stream, and a place to begin reading. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .times import iso


@dataclass(frozen=True)
class Message:
    """A message as a stream keeps it."""

    seq: int
    subject: str
    time: datetime
    headers: Mapping[str, str]
    payload: bytes
    pending: int = 0
    """Messages of the same filter that the stream held behind it."""


@dataclass(frozen=True)
class Start:
    """Where reading begins: at a sequence, or at what came in at a time or later."""

    sequence: int = 1
    time: datetime | None = None

    def policy(self) -> dict[str, Any]:
        """The same in the broker's words."""
        if self.time is not None:
            return {"deliver_policy": "by_start_time", "opt_start_time": iso(self.time)}
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": max(1, self.sequence)}

    def behind(self, sequence: int | None) -> Start:
        """This place, or the one behind ``sequence`` if that is later."""
        if sequence is None or (self.time is None and self.sequence > sequence):
            return self
        return Start(sequence + 1)

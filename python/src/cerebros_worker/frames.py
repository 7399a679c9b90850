"""Frames: a big-endian length of four bytes, then one JSON object in UTF-8.

Pure: bytes in, messages out. The limit is the same in both directions and is checked before
anything is allocated for a body.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, List

from .failures import FrameTooLarge, ProtocolBroken

# Larger than any honest metric, history or parameter set; files go through artifacts.
MAX_FRAME_BYTES = 8 * 1024 * 1024

Message = Dict[str, Any]

_HEADER = struct.Struct(">I")
_encode_text = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_decode_text = json.JSONDecoder().decode


def encode(message: Message) -> bytes:
    """One whole frame. Expects plain values (see `plain`): non-finite floats are refused."""
    # A lone surrogate has no UTF-8 form; "?" keeps the frame readable for every JSON reader.
    body = _encode_text(message).encode("utf-8", "replace")
    if len(body) > MAX_FRAME_BYTES:
        raise FrameTooLarge(message.get("type", "frame"), len(body), MAX_FRAME_BYTES)
    return _HEADER.pack(len(body)) + body


class Decoder:
    """Turns what a pipe happens to deliver into whole messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> List[Message]:
        """The messages that `data` completes, in order. Raises `ProtocolBroken`."""
        if not self._pending and len(data) > 4 and _body_length(data) == len(data) - 4:
            return [_message(data[4:])]  # the usual case: one read, one frame, no copy kept
        self._pending += data
        messages = []
        while len(self._pending) >= 4:
            end = 4 + _body_length(self._pending)
            if len(self._pending) < end:
                break
            messages.append(_message(bytes(self._pending[4:end])))
            del self._pending[:end]
        return messages


def _body_length(data: Any) -> int:
    length: int = _HEADER.unpack_from(data)[0]
    if length > MAX_FRAME_BYTES:
        raise ProtocolBroken(
            f"a frame from the worker announces {length} bytes; the limit is {MAX_FRAME_BYTES}"
        )
    return length


def _message(body: bytes) -> Message:
    try:
        message = _decode_text(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolBroken(f"a frame from the worker is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolBroken("a frame from the worker is not a JSON object")
    return message

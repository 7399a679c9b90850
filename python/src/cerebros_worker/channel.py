"""The two pipes to the worker, shared safely by the threads of this process.

Whole frames or nothing: every write happens under one lock, and a frame that cannot be
completed ends the process, because half a frame would garble every later one. A report
is written only while its call is the running one, checked under the same lock, so that a
thread a trainer left behind cannot speak after the result. A forked copy cannot speak at all.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import Deque, Dict, Optional, Type

from .frames import Decoder, Message, encode
from .lifeline import end_process_group
from .stops import Stopped, stop_of

# One read takes what a pipe can hold.
READ_BYTES = 64 * 1024
# Exit status of a child whose channel is beyond repair.
BROKEN_CHANNEL = 4


class Channel:
    """Messages to and from the worker."""

    def __init__(self, frames_in: int, frames_out: int) -> None:
        self._source = frames_in
        self._sink = frames_out
        self._decoder = Decoder()
        self._waiting: Deque[Message] = deque()
        self._stops: Dict[int, Type[Stopped]] = {}
        self._running: Optional[int] = None
        self._ended = False
        self.forked = False
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._readable = select.poll()
        self._readable.register(frames_in, select.POLLIN)
        os.register_at_fork(after_in_child=self._detach)

    def receive(self) -> Optional[Message]:
        """The next message, waiting for it; None once the worker has closed the pipe."""
        with self._read_lock:
            while not self._waiting:
                if self._ended:
                    return None
                self._read()
            return self._waiting.popleft()

    def send(self, message: Message) -> None:
        """Writes one frame. Raises `NotSendable` before a byte is written if it is too large."""
        self._write(encode(message))

    def begin(self, call_id: int) -> None:
        """From here on, reports of this call are let through."""
        self._running = call_id

    def send_during(self, call_id: int, message: Message) -> None:
        """Writes one frame of a running call; refuses when the call is over."""
        self._write(encode(message), call_id)

    def finish(self, call_id: int, result: Message) -> None:
        """Writes the result. Nothing of this call is let through afterwards."""
        self._write(encode(result), ends_call=True)
        self._stops.pop(call_id, None)

    def beat(self) -> None:
        """Writes one heartbeat."""
        self.send({"type": "heartbeat", "id": self._running})

    def stop_of(self, call_id: int) -> Optional[Type[Stopped]]:
        """What the search has asked of this call so far; never waits."""
        with self._read_lock:
            while not self._ended and self._readable.poll(0):
                self._read()
            return self._stops.get(call_id)

    def _read(self) -> None:
        data = os.read(self._source, READ_BYTES)
        if not data:
            self._ended = True
        for message in self._decoder.feed(data):
            if message.get("type") == "stop":
                self._note_stop(message)
            else:
                self._waiting.append(message)

    def _note_stop(self, message: Message) -> None:
        call_id = message.get("id")
        known = call_id == self._running or any(w.get("id") == call_id for w in self._waiting)
        if known and isinstance(call_id, int):  # else the call ended while the stop travelled
            self._stops[call_id] = stop_of(str(message.get("reason")))

    def _write(self, frame: bytes, during: Optional[int] = None, ends_call: bool = False) -> None:
        if self.forked:
            raise RuntimeError(
                "reports can only be made by the process that runs the trainer, "
                "not by a fork of it: return the values to it"
            )
        with self._write_lock:
            if during is not None and during != self._running:
                raise RuntimeError("this trial is over: a thread it left behind cannot report")
            if ends_call:
                self._running = None
            try:
                written = os.write(self._sink, frame)
            except BrokenPipeError:
                end_process_group()
            if written != len(frame):
                self._write_rest(memoryview(frame)[written:])

    def _write_rest(self, rest: memoryview) -> None:
        try:
            while rest:
                rest = rest[os.write(self._sink, rest) :]
        except BrokenPipeError:
            end_process_group()
        except BaseException:
            os._exit(BROKEN_CHANNEL)

    def _detach(self) -> None:
        # Another thread may have held a lock at the moment of the fork.
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self.forked = True

"""The worker's side of the protocol, for tests: starts a real child and speaks frames with it.

Deliberately independent of the runtime's own codec. Every wait has a deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from . import FIXTURES, SOURCE

PYTHON = os.environ.get("CEREBROS_TEST_PYTHON") or sys.executable
DEADLINE_SECONDS = 60.0

Message = Dict[str, Any]


class ChildEnded(Exception):
    """The child closed its pipe instead of sending the expected frame."""


class Child:
    """One child process in a directory of its own. Use as a context manager."""

    def __init__(
        self,
        *,
        environ: Optional[Dict[str, str]] = None,
        low_numbers: bool = False,
        memory_limit_bytes: Optional[int] = None,
        prelude: str = "",
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="cerebros-child-"))
        self.workdir = self.directory / "work"
        self.workdir.mkdir()
        to_child, self._sink = os.pipe()
        self._source, from_child = os.pipe()
        self._output = {name: open(self.directory / name, "w+b") for name in ("stdout", "stderr")}

        def prepare() -> None:
            if low_numbers:
                _put_low(to_child, from_child)
            if memory_limit_bytes:
                resource.setrlimit(resource.RLIMIT_AS, (memory_limit_bytes, memory_limit_bytes))

        self.process = subprocess.Popen(
            _command(prelude),
            stdin=subprocess.PIPE,
            stdout=self._output["stdout"],
            stderr=self._output["stderr"],
            cwd=self.directory,
            env=_environment(to_child, from_child, environ or {}, low_numbers),
            start_new_session=True,
            close_fds=not low_numbers,
            pass_fds=() if low_numbers else (to_child, from_child),
            preexec_fn=prepare,
        )
        os.close(to_child)
        os.close(from_child)
        self._buffer = b""
        self._next_id = 0
        self.heartbeats: List[Message] = []

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_SECONDS)
        for number in (self._sink, self._source):
            with contextlib.suppress(OSError):
                os.close(number)
        if self.process.stdin:
            self.process.stdin.close()
        for output in self._output.values():
            output.close()
        shutil.rmtree(self.directory)

    # frames

    def send(self, message: Message) -> None:
        body = json.dumps(message, separators=(",", ":")).encode()
        self.send_bytes(struct.pack(">I", len(body)) + body)

    def send_bytes(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._sink, view) :]

    def next_frame(self, deadline_seconds: float = DEADLINE_SECONDS) -> Message:
        """The next frame, heartbeats included."""
        until = time.monotonic() + deadline_seconds
        while True:
            if len(self._buffer) >= 4:
                end = 4 + struct.unpack_from(">I", self._buffer)[0]
                if len(self._buffer) >= end:
                    body, self._buffer = self._buffer[4:end], self._buffer[end:]
                    return json.loads(body)
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._source], [], [], left)[0]:
                raise TimeoutError(f"no frame within {deadline_seconds} s; stderr: {self.stderr()}")
            data = os.read(self._source, 1 << 16)
            if not data:
                raise ChildEnded(f"status {self.process.wait(DEADLINE_SECONDS)}: {self.stderr()}")
            self._buffer += data

    def receive(self) -> Message:
        """The next frame that is no heartbeat; those are kept in `heartbeats`."""
        while True:
            frame = self.next_frame()
            if frame["type"] != "heartbeat":
                return frame
            self.heartbeats.append(frame)

    def descriptors(self) -> Tuple[int, int]:
        """Where frames are written to and read from."""
        return self._sink, self._source

    # calls

    def set_up(self, **init: Any) -> Message:
        """Handshake; the answer to `init`, which is ready or fatal."""
        hello = self.receive()
        assert hello["type"] == "hello", hello
        self.send(
            {
                "type": "init",
                "protocol": 1,
                "preload": [],
                "dataset_dir": None,
                "heartbeat_ms": 60_000,
                "extra_paths": [str(FIXTURES)],
                **init,
            }
        )
        return self.receive()

    def set_up_with_trainers(self, **init: Any) -> None:
        """Handshake with trainer mlp preloaded; says what to do when it cannot be."""
        answer = self.set_up(preload=["mlp"], **init)
        if answer["type"] != "ready":
            raise AssertionError(
                f"this test trains with scikit-learn, which {PYTHON} does not have "
                f"({answer['failure']['message']}): point CEREBROS_TEST_PYTHON to one that has"
            )

    def start_train(self, entry: str, params: Optional[Message] = None, **trial: Any) -> int:
        return self._start(op="train", entry=entry, params=params or {}, trial=self._trial(trial))

    def train(self, entry: str, params: Optional[Message] = None, **trial: Any) -> Outcome:
        return self.outcome(self.start_train(entry, params, **trial))

    def start_run_nas(
        self, entry: str, spec: Optional[Message] = None, opts: Optional[Message] = None
    ) -> int:
        return self._start(
            op="run_nas", entry=entry, spec=spec or {}, opts=opts or {}, trial=self._trial({})
        )

    def run_nas(self, entry: str, spec: Optional[Message] = None) -> Outcome:
        return self.outcome(self.start_run_nas(entry, spec))

    def echo(self, params: Any) -> Message:
        return self.outcome(self._start(op="echo", params=params)).result

    def stop(self, call_id: int, reason: str) -> None:
        self.send({"type": "stop", "id": call_id, "reason": reason})

    def outcome(self, call_id: int) -> Outcome:
        """Everything up to the result of a call."""
        before = []
        while True:
            frame = self.receive()
            assert frame.get("id") == call_id, frame
            if frame["type"] == "result":
                return Outcome(before, frame)
            before.append(frame)

    def _start(self, **call: Any) -> int:
        self._next_id += 1
        self.send({"type": "call", "id": self._next_id, **call})
        return self._next_id

    def _trial(self, changes: Message) -> Message:
        return {
            "run_id": "run-1",
            "trial_id": "trial-1",
            "number": 0,
            "attempt": 1,
            "seed": 7,
            "objective": "accuracy",
            "direction": "maximize",
            "dataset_id": "digits",
            "workdir": str(self.workdir),
            "budget": {},
            **changes,
        }

    # the process

    def stdout(self) -> bytes:
        return self._read("stdout")

    def stderr(self) -> str:
        return self._read("stderr").decode("utf-8", "replace")[-4096:]

    def close_lifeline(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close_frames(self) -> None:
        os.close(self._sink)
        self._sink = os.open(os.devnull, os.O_WRONLY)

    def wait(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def _read(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()


class Outcome:
    """The frames of one call."""

    def __init__(self, before: List[Message], result: Message) -> None:
        self.before = before
        self.result = result

    @property
    def failure(self) -> Message:
        return self.result.get("failure") or {"class": None, "message": self.result}

    def of_type(self, kind: str) -> List[Message]:
        return [frame for frame in self.before if frame["type"] == kind]


class Deadline:
    """For waiting on a condition that sends no event: look, check, look again."""

    def __init__(self) -> None:
        self._until = time.monotonic() + DEADLINE_SECONDS

    def check(self, complaint: str) -> None:
        """Lets other processes run; raises `TimeoutError` when time is up."""
        if time.monotonic() > self._until:
            raise TimeoutError(complaint)
        select.select([], [], [], 0.005)


def wait_until_gone(pid: int) -> None:
    """Returns when no process has this id any more."""
    deadline = Deadline()
    while _is_alive(pid):
        deadline.check(f"process {pid} is still alive")


def _command(prelude: str) -> List[str]:
    if not prelude:
        return [PYTHON, "-m", "cerebros_worker"]
    return [PYTHON, "-c", f"{prelude}\nfrom cerebros_worker.__main__ import main\nmain()"]


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def _environment(
    to_child: int, from_child: int, changes: Dict[str, str], low_numbers: bool
) -> Dict[str, str]:
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(SOURCE), **changes}
    if not low_numbers:
        environ["CEREBROS_FRAMES_IN"] = str(to_child)
        environ["CEREBROS_FRAMES_OUT"] = str(from_child)
    return environ


def _put_low(to_child: int, from_child: int) -> None:
    numbers: Tuple[int, int] = (os.dup(to_child), os.dup(from_child))
    while min(numbers) <= 4:
        numbers = (os.dup(numbers[0]), os.dup(numbers[1]))
    os.dup2(numbers[0], 3)
    os.dup2(numbers[1], 4)
    os.closerange(5, 256)

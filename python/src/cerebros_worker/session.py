"""The child's life: say hello, be set up, serve calls until the worker closes the pipe.

`echo` is answered right here, as the shortest path there is; it measures the protocol.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
import traceback
from typing import NoReturn, Optional

from . import limits, orphans
from .calls import Calls
from .channel import BROKEN_CHANNEL, Channel
from .datasets import DataSets
from .descriptors import Descriptors, take_over
from .entries import TRAINERS, Entries
from .failures import ProtocolBroken, describe
from .frames import Message
from .lifeline import Watch, arm_kernel_guard

PROTOCOL = 1
DEFAULT_HEARTBEAT_MS = 1_000

# Exit statuses: usage (not started by a worker), could not be set up.
NOT_A_CHILD = 2
NOT_SET_UP = 3

PYTHON_VERSION = ".".join(map(str, sys.version_info[:3]))


def run() -> NoReturn:
    """Lives the whole life; never returns, so that threads left behind cannot hold it up."""
    try:
        descriptors = take_over(os.environ)
    except (OSError, ValueError):
        sys.stderr.write("cerebros_worker is the child of a worker: start `bridge-worker`\n")
        sys.exit(NOT_A_CHILD)
    arm_kernel_guard(descriptors.lifeline)
    # An interrupt typed at a terminal is for the worker, which then tells its children.
    # A handler, not SIG_IGN: programs that user code starts must not inherit deafness.
    signal.signal(signal.SIGINT, lambda *_: None)
    faulthandler.enable()
    status = BROKEN_CHANNEL
    try:
        status = _live(descriptors)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _live(descriptors: Descriptors) -> int:
    channel = Channel(descriptors.frames_in, descriptors.frames_out)
    channel.send(
        {"type": "hello", "protocol": PROTOCOL, "python": PYTHON_VERSION, "pid": os.getpid()}
    )
    setup = channel.receive()
    if setup is None:
        return 0
    interval_ms = int(setup.get("heartbeat_ms") or DEFAULT_HEARTBEAT_MS)
    watch = Watch(descriptors.lifeline, channel, interval_ms)
    watch.start()
    calls = _set_up(setup, channel)
    if calls is None:
        return NOT_SET_UP
    watch.beating = True
    try:
        _serve(channel, calls)
    except ProtocolBroken as error:
        channel.send({"type": "fatal", "failure": describe(error)})
        return BROKEN_CHANNEL
    return 0


def _set_up(setup: Message, channel: Channel) -> Optional[Calls]:
    """Imports what was asked for and says ready, or says why not."""
    started = time.perf_counter()
    try:
        limits.apply(setup.get("limits") or {})
        orphans.adopt()
        entries = Entries()
        datasets = DataSets(setup.get("dataset_dir"))
        if setup.get("type") != "init" or setup.get("protocol") != PROTOCOL:
            raise ProtocolBroken(
                f"the child speaks protocol {PROTOCOL} and expects init, the worker sent "
                f"{setup.get('type')!r} of protocol {setup.get('protocol')!r}"
            )
        # In front of installed packages, like the directory of a script.
        sys.path[0:0] = [str(path) for path in setup.get("extra_paths") or ()]
        calls = Calls(channel, entries, datasets)
        for entry in setup.get("preload") or ():
            entries.find(entry)
    except BaseException as error:
        channel.send({"type": "fatal", "failure": describe(error)})
        return None
    channel.send(
        {
            "type": "ready",
            "python": PYTHON_VERSION,
            "pid": os.getpid(),
            "import_ms": round((time.perf_counter() - started) * 1000),
            "trainers": list(TRAINERS),
            "datasets": datasets.names(),
        }
    )
    return calls


def _serve(channel: Channel, calls: Calls) -> None:
    while True:
        request = channel.receive()
        if request is None:
            return
        if request.get("op") == "echo":
            channel.send(
                {
                    "type": "result",
                    "id": request["id"],
                    "status": "succeeded",
                    "value": request.get("params"),
                }
            )
        elif request.get("type") == "call" and isinstance(request.get("id"), int):
            calls.run(request)
        else:
            raise ProtocolBroken(f"expected a call, got a frame of type {request.get('type')!r}")

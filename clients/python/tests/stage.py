"""A broker of one test alone, and a hand that publishes what services would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StreamConfig

import cerebros_client as cerebros
from cerebros_client.connect import close_connection

from . import begin_test

DEADLINE_SECONDS = 30.0


def required(name: str) -> str:
    """A variable the tests cannot do without."""
    try:
        return os.environ[name]
    except KeyError:
        raise AssertionError(f"{name} is not set: run `cargo test -p cerebros --test it foreign`") from None


class Server:
    """A nats-server with a store of its own."""

    def __init__(self, *flags: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="cerebros-client-")
        self._flags = flags
        self._port = -1
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts it, on the port it had before."""
        directory = Path(self._directory.name)
        arguments = ["-js", "-sd", str(directory / "store"), "-a", "127.0.0.1", "-p", str(self._port)]
        arguments += ["--ports_file_dir", str(directory), *self._flags]
        with (directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [required("CEREBROS_TEST_NATS_SERVER"), *arguments], stdout=log, stderr=log
            )
        ports = directory / f"{Path(self._process.args[0]).name}_{self._process.pid}.ports"
        until("the broker is ready", lambda: ports.exists() and ports.read_text().endswith("}"))
        self._port = int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        self.kill()
        self._directory.cleanup()


def until(what: str, condition: Callable[[], bool]) -> None:
    """Waits for a condition, never for a time."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"did not happen: {what}"
        time.sleep(0.01)


async def unheard(error: Exception) -> None:
    """An outage the test made itself needs no words."""


class Stage(unittest.IsolatedAsyncioTestCase):
    """A broker with the product's streams, a client, and a stranger's connection."""

    async def asyncSetUp(self) -> None:
        begin_test()
        self.server = Server()
        self.is_back = asyncio.Event()
        self.addCleanup(self.server.close)
        self.hand = await nats.connect(
            self.server.url,
            reconnect_time_wait=0.05,
            max_reconnect_attempts=-1,
            error_cb=unheard,
            reconnected_cb=self.reconnected,
        )
        self.addAsyncCleanup(close_connection, self.hand)
        self.jetstream: JetStreamContext = self.hand.jetstream(timeout=10)
        await self.build()
        self.client = cerebros.AsyncClient(self.server.url, patience=20)
        self.addAsyncCleanup(self.client.close)

    async def build(self) -> None:
        """The streams and buckets, as `service_kit::topology` makes them."""
        subjects = ["cerebros.nas.run.*", "ml.run.*", "cerebros.fence.>"]
        await self.jetstream.add_stream(
            StreamConfig(name="CEREBROS", subjects=subjects, duplicate_window=120, allow_direct=True)
        )
        self.runs = await self.jetstream.create_key_value(KeyValueConfig(bucket="cerebros_runs"))
        self.schemas = await self.jetstream.create_key_value(KeyValueConfig(bucket="cerebros_schemas"))

    async def restart(self) -> None:
        """Kills the broker, starts it again, and waits until the hand has it back."""
        self.is_back.clear()
        self.server.kill()
        self.server.start()
        await asyncio.wait_for(self.is_back.wait(), DEADLINE_SECONDS)

    async def reconnected(self) -> None:
        self.is_back.set()

    async def publish(self, subject: str, data: Any, headers: dict[str, str] | None = None) -> int:
        """Publishes an event and returns its sequence."""
        payload = data if isinstance(data, bytes) else json.dumps(data).encode()
        return (await self.jetstream.publish(subject, payload, headers=headers)).seq

    async def record(self, run: str, **facts: Any) -> None:
        """Writes what the registry has of a run."""
        record = {
            "run_id": run,
            "state": "running",
            "attempt": 1,
            "dataset_id": "digits",
            "objective": "accuracy",
            "spec": {"dataset_id": "digits", "tau": 1.0},
            "request_sequence": 1,
            "first_sequence": 1,
            "worker_id": "w",
            "requested_at": "2026-01-31T12:00:00Z",
            **facts,
        }
        await self.runs.put(run, json.dumps(record).encode())

    async def collect(self, run: str, **options: Any) -> list[cerebros.Event]:
        """Every event a watch gives, within the deadline."""
        events: list[cerebros.Event] = []

        async def watch() -> None:
            async with contextlib.aclosing(self.client.watch(run, **options)) as watched:
                async for event in watched:
                    events.append(event)

        await asyncio.wait_for(watch(), DEADLINE_SECONDS)
        return events

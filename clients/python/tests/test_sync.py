"""The client without asyncio does what the other one does, from any thread."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import threading
import unittest
import weakref
from collections.abc import Callable
from unittest import mock

import cerebros_client as cerebros
from cerebros_client import subjects

from .stage import DEADLINE_SECONDS, Stage, until


class Sync(Stage):
    """The broker is the stage's; the client under test runs in threads of its own."""

    async def test_everything_works_without_asyncio(self) -> None:
        with cerebros.Client(self.server.url) as client:
            run = client.submit({"dataset_id": "digits"})
            await self.publish(subjects.COMPLETED, {"run_id": run, "attempt": 1, "best_metric": 0.5})
            self.assertEqual([event.seq for event in client.watch(run)], [1, 2])
            self.assertEqual(client.result(run, timeout=DEADLINE_SECONDS).best_metric, 0.5)
            self.assertEqual([each.run_id for each in client.list()], [run])
            self.assertEqual(client.show(run).spec["dataset_id"], "digits")
            self.assertTrue(client.cancel(run))
            with self.assertRaises(cerebros.RunUnknown):
                client.show("nobody")

    async def test_a_watch_that_is_left_early_leaves_nothing_behind(self) -> None:
        with cerebros.Client(self.server.url) as client:
            run = client.submit({"dataset_id": "digits"})
            for _ in client.watch(run):
                break
            self.assertEqual([each.run_id for each in client.list()], [run])
        client.close()
        self.assertNotIn("cerebros-client", names())
        with self.assertRaises(cerebros.CerebrosError):
            client.list()

    async def test_an_interrupt_ends_the_watch_and_not_the_client(self) -> None:
        with cerebros.Client(self.server.url) as client:
            run = client.submit({"dataset_id": "digits"})
            events = client.watch(run)
            next(events)
            wait = concurrent.futures.Future.result
            interrupts = [KeyboardInterrupt()]

            def interrupted_once(future: concurrent.futures.Future[object]) -> object:
                if interrupts:
                    raise interrupts.pop()
                return wait(future)

            with mock.patch.object(concurrent.futures.Future, "result", interrupted_once):
                with self.assertRaises(KeyboardInterrupt):
                    next(events)
            self.assertEqual([each.run_id for each in client.list()], [run])

    async def test_threads_may_share_it(self) -> None:
        with cerebros.Client(self.server.url) as client:
            submitted: list[str] = []
            threads = [
                threading.Thread(target=lambda: submitted.append(client.submit({"dataset_id": "digits"})))
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(DEADLINE_SECONDS)
            self.assertEqual(sorted(run.run_id for run in client.list()), sorted(submitted))
            self.assertEqual(len(set(submitted)), 8)

    async def test_closing_ends_the_calls_other_threads_wait_for(self) -> None:
        client = cerebros.Client(self.server.url)
        self.addCleanup(client.close)
        run = client.submit({"dataset_id": "digits"})
        ends: list[str] = []

        def call(work: Callable[[], object]) -> None:
            try:
                work()
            except cerebros.CerebrosError as error:
                ends.append(error.what)

        def watch() -> None:
            for _ in client.watch(run):
                has_begun.set()

        has_begun = threading.Event()
        calls = [watch, lambda: client.result(run), lambda: client.result("nobody-asked-for-this")]
        threads = [threading.Thread(target=call, args=[each], daemon=True) for each in calls]
        for thread in threads:
            thread.start()
        self.assertTrue(has_begun.wait(DEADLINE_SECONDS))
        client.close()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)
        self.assertEqual(ends, ["the client was closed"] * 3)

    async def test_a_watch_the_garbage_collector_ends_in_the_client_s_own_thread_blocks_nobody(self) -> None:
        async def collect() -> None:
            gc.collect()

        with cerebros.Client(self.server.url) as client:
            run = client.submit({"dataset_id": "digits"})
            events = client.watch(run)
            next(events)
            ring: list[object] = [events]
            ring.append(ring)
            gone = weakref.ref(events)
            del events, ring
            collecting = threading.Thread(target=lambda: client._run(collect()), daemon=True)
            collecting.start()
            collecting.join(DEADLINE_SECONDS)
            self.assertFalse(collecting.is_alive())
            self.assertIsNone(gone())
            self.assertEqual([each.run_id for each in client.list()], [run])

    async def test_a_call_in_the_client_s_own_thread_is_an_error_rather_than_a_deadlock(self) -> None:
        with cerebros.Client(self.server.url) as client:

            async def call() -> None:
                client.close()
                client.list()

            with self.assertRaises(cerebros.CerebrosError) as caught:
                client._run(call())
            self.assertIn("finalizer", str(caught.exception))

    async def test_a_client_nobody_closed_takes_its_thread_and_its_connection_along(self) -> None:
        before = len(os.listdir("/dev/fd"))
        for _ in range(3):
            client = cerebros.Client(self.server.url)
            run = client.submit({"dataset_id": "digits"})
            watch = client.watch(run)
            next(watch)
            ring: list[object] = [client, watch]
            ring.append(ring)
            del client, watch, ring
        gc.collect()
        until("the threads are gone", lambda: "cerebros-client" not in names())
        self.assertEqual(len(os.listdir("/dev/fd")), before)


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


class Unreachable(unittest.TestCase):
    def test_a_broker_that_is_not_there_leaves_no_thread(self) -> None:
        with self.assertRaises(cerebros.BrokerUnreachable):
            with cerebros.Client("nats://127.0.0.1:1", patience=0.3):
                self.fail("nobody is there")
        self.assertNotIn("cerebros-client", names())

"""Watching a run: all of its events, once, in order, whatever happens to the broker."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import cerebros_client as cerebros
from cerebros_client import subjects

from .stage import DEADLINE_SECONDS, Stage

REQUEST = {"run_id": "r", "dataset_id": "digits"}


def trial(number: int, run: str = "r") -> dict[str, object]:
    return {"run_id": run, "trial_id": f"{run}-{number}", "status": "succeeded", "metrics": {"accuracy": 0.5}}


class Watch(Stage):
    async def test_a_run_is_watched_from_its_request_to_its_end_and_nothing_else_is(self) -> None:
        ours = [
            await self.publish(subjects.REQUESTED, REQUEST),
            await self.publish(subjects.STARTED, {"run_id": "r", "attempt": 1}),
        ]
        await self.publish(subjects.STARTED, {"run_id": "s", "attempt": 1}, {"Cerebros-Run-Id": "s"})
        await self.publish(subjects.TRIAL, b"\xff\x00 garbage")
        await self.publish(subjects.TRIAL, [1, 2])
        await self.publish(subjects.TRIAL, b"[" * 100_000)
        ours.append(await self.publish(subjects.TRIAL, trial(0)))
        ours.append(await self.publish(subjects.INTERRUPTED, {"run_id": "r", "attempt": 1}))
        ours.append(await self.publish(subjects.COMPLETED, {"run_id": "r", "attempt": 2}))
        await self.publish(subjects.TRIAL, trial(1))
        events = await self.collect("r")
        self.assertEqual([event.seq for event in events], ours)
        self.assertEqual({event.run_id for event in events}, {"r"})
        self.assertEqual(events[2].type, "ml.run.trial.v1")
        self.assertEqual(events[2].data["metrics"], {"accuracy": 0.5})
        self.assertEqual([event.is_terminal for event in events], [False] * 4 + [True])

    async def test_a_watch_goes_on_where_another_stopped(self) -> None:
        first = await self.publish(subjects.REQUESTED, REQUEST)
        last = await self.publish(subjects.FAILED, {"run_id": "r", "attempt": 1})
        self.assertEqual([event.seq for event in await self.collect("r", since_seq=first)], [last])
        await self.record("r", state="failed")
        self.assertEqual(await self.collect("r", since_seq=last), [])

    async def test_a_watch_that_waits_gets_each_event_as_it_comes(self) -> None:
        await self.publish(subjects.REQUESTED, REQUEST)
        async with contextlib.aclosing(self.client.watch("r")) as events:
            await asyncio.wait_for(anext(events), DEADLINE_SECONDS)
            for number in range(3):
                upcoming = asyncio.ensure_future(anext(events))
                seq = await self.publish(subjects.TRIAL, trial(number))
                self.assertEqual((await asyncio.wait_for(upcoming, DEADLINE_SECONDS)).seq, seq)

    async def test_a_long_run_and_large_events_are_read_by_one_consumer(self) -> None:
        published = [await self.publish(subjects.REQUESTED, REQUEST)]
        for number in range(600):
            published.append(await self.publish(subjects.TRIAL, trial(number)))
        for number in range(30):
            published.append(await self.publish(subjects.TRIAL, {**trial(number), "x": "y" * 500_000}))
        published.append(await self.publish(subjects.COMPLETED, {"run_id": "r", "attempt": 1}))
        log = logging.getLogger("cerebros_client")
        with self.assertLogs(log, "DEBUG") as heard:
            log.debug("there has to be a line")
            self.assertEqual([event.seq for event in await self.collect("r")], published)
        self.assertEqual([line for line in heard.output if " anew: " in line], [])

    async def test_a_broker_that_is_killed_and_comes_back_costs_no_event_and_doubles_none(self) -> None:
        published = [await self.publish(subjects.REQUESTED, REQUEST)]
        seen: list[int] = []

        async def watch() -> None:
            async for event in self.client.watch("r"):
                seen.append(event.seq)

        watching = asyncio.ensure_future(watch())
        for restart in range(2):
            for number in range(600):
                published.append(await self.publish(subjects.TRIAL, trial(1000 * restart + number)))
            await self.restart()
        published.append(await self.publish(subjects.COMPLETED, {"run_id": "r", "attempt": 1}))
        await asyncio.wait_for(watching, DEADLINE_SECONDS)
        self.assertEqual(seen, published)

    async def test_a_broker_that_stays_away_is_an_error_that_names_it(self) -> None:
        await self.publish(subjects.REQUESTED, REQUEST)
        impatient = cerebros.AsyncClient(self.server.url, patience=5)
        self.addAsyncCleanup(impatient.close)
        events = impatient.watch("r")
        await anext(events)
        self.server.kill()
        with self.assertRaises(cerebros.BrokerUnreachable) as caught:
            await asyncio.wait_for(anext(events), DEADLINE_SECONDS)
        self.assertIn(self.server.url, str(caught.exception))

    async def test_the_end_of_an_earlier_asking_is_no_end(self) -> None:
        await self.publish(subjects.REQUESTED, REQUEST)
        failed = await self.publish(subjects.FAILED, {"run_id": "r", "attempt": 1})
        again = await self.publish(subjects.REQUESTED, REQUEST)
        await self.record("r", state="failed", request_sequence=1)
        end = await self.publish(subjects.COMPLETED, {"run_id": "r", "attempt": 2})
        events = await self.collect("r")
        self.assertEqual([event.seq for event in events], [1, failed, again, end])
        self.assertEqual((await self.client.result("r", timeout=DEADLINE_SECONDS)).attempt, 2)

    async def test_a_completed_run_whose_failed_trials_are_asked_for_again_goes_on(self) -> None:
        def of(attempt: int, status: str) -> dict[str, object]:
            return {**trial(0), "attempt": attempt, "status": status}

        await self.publish(subjects.REQUESTED, REQUEST)
        await self.publish(subjects.STARTED, {"run_id": "r", "attempt": 1})
        await self.publish(subjects.TRIAL, of(1, "failed"))
        await self.publish(subjects.TRIAL, {**trial(1), "attempt": 1, "status": "pruned"})
        await self.publish(subjects.COMPLETED, {"run_id": "r", "attempt": 1})
        await self.record("r", state="completed", failed_trials=1)
        await self.publish(subjects.REQUESTED, REQUEST)
        (listed,) = await self.client.list()
        self.assertEqual(listed.state, "completed", "a request without the header has no effect")
        again = await self.publish(subjects.REQUESTED, REQUEST, {"Cerebros-Retry": "failed"})
        (listed,) = await self.client.list()
        self.assertEqual((listed.state, listed.failed_trials), ("requested", 1))
        self.assertEqual([each.status for each in (await self.client.show("r")).trials], ["pruned"])
        watching = asyncio.ensure_future(self.collect("r"))
        await self.publish(subjects.STARTED, {"run_id": "r", "attempt": 2})
        await self.publish(subjects.TRIAL, of(2, "succeeded"))
        end = await self.publish(subjects.COMPLETED, {"run_id": "r", "attempt": 2})
        self.assertEqual((await watching)[-1].seq, end)
        self.assertEqual((await self.client.result("r", timeout=DEADLINE_SECONDS)).attempt, 2)
        await self.record("r", state="completed", attempt=2, request_sequence=again)
        shown = await self.client.show("r")
        self.assertEqual([each.status for each in shown.trials], ["succeeded", "pruned"])
        self.assertEqual((await self.collect("r"))[-1].seq, end)

    async def test_the_fences_of_workers_are_no_events(self) -> None:
        published = [await self.publish(subjects.REQUESTED, REQUEST)]
        await self.publish("cerebros.fence.r", {"attempt": 2})
        await self.publish("cerebros.fence.r", {**trial(9), "attempt": 3}, {"Cerebros-Run-Id": "r"})
        published.append(await self.publish(subjects.TRIAL, trial(0)))
        await self.publish("cerebros.fence.r.with.dots", b"\xff")
        published.append(await self.publish(subjects.COMPLETED, {"run_id": "r", "attempt": 1}))
        self.assertEqual([event.seq for event in await self.collect("r")], published)
        self.assertEqual(len((await self.client.show("r")).trials), 1)

    async def test_a_run_whose_events_the_stream_forgot_ends_as_the_registry_says(self) -> None:
        await self.record("r", state="failed", failure={"class": "oom", "stage": "execute", "message": "m"})
        self.assertEqual(await self.collect("r"), [])
        with self.assertRaises(cerebros.RunFailed) as caught:
            await self.client.result("r", timeout=DEADLINE_SECONDS)
        self.assertEqual(caught.exception.failure.failure_class, "oom")

    async def test_a_run_that_is_found_over_only_while_nothing_comes_ends_the_watch(self) -> None:
        await self.record("r", state="running")
        watching = asyncio.ensure_future(self.collect("r", since_seq=10_000))
        await self.record("r", state="completed")
        self.assertEqual(await watching, [])

    async def test_a_request_without_a_run_id_has_the_one_every_reader_derives(self) -> None:
        await self.publish(subjects.REQUESTED, {"dataset_id": "digits"})
        (run,) = await self.client.list()
        await self.publish(subjects.CANCELLED, {"run_id": run.run_id, "attempt": 1})
        self.assertEqual([event.seq for event in await self.collect(run.run_id)], [1, 2])

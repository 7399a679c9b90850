"""Submitting, waiting, cancelling, listing: against a broker, without a worker."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from unittest import mock

import cerebros_client as cerebros
from cerebros_client import ids, subjects, times

from .stage import DEADLINE_SECONDS, Server, Stage


class Calls(Stage):
    async def test_a_request_has_the_headers_of_the_contract(self) -> None:
        run = await self.client.submit({"dataset_id": "digits"}, run_id="r-1")
        message = await self.jetstream.get_msg("CEREBROS", run.sequence)
        self.assertEqual((run, run.is_duplicate, message.subject), ("r-1", False, subjects.REQUESTED))
        self.assertEqual(message.data, b'{"dataset_id":"digits","run_id":"r-1"}')
        headers = dict(message.headers or {})
        self.assertRegex(headers.pop("ce-time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")
        expected = {
            "Nats-Msg-Id": "r-1:0:requested::",
            "ce-specversion": "1.0",
            "ce-id": "r-1:0:requested::",
            "ce-type": "cerebros.nas.run.requested.v1",
            "ce-source": "/cerebros/client/python",
            "ce-subject": "r-1",
            "ce-dataschema": subjects.DATASCHEMA[subjects.REQUESTED],
            "Content-Type": "application/json",
            "Cerebros-Run-Id": "r-1",
            "Cerebros-Correlation-Id": "r-1",
        }
        self.assertEqual(headers, expected)

    async def test_a_request_says_how_long_it_may_wait_and_stays_the_same_request(self) -> None:
        before = datetime.now(timezone.utc)
        run = await self.client.submit({"dataset_id": "digits"}, run_id="r-1", expires=5400)
        headers = (await self.jetstream.get_msg("CEREBROS", run.sequence)).headers or {}
        wanted = times.parse(headers["ce-expirytime"]) - times.parse(headers["ce-time"])
        self.assertEqual(wanted, timedelta(seconds=5400))
        self.assertGreaterEqual(times.parse(headers["ce-time"]), before)
        self.assertEqual(headers["Nats-Msg-Id"], "r-1:0:requested::")
        again = await self.client.submit({"dataset_id": "digits"}, run_id="r-1", expires=0.5)
        self.assertTrue(again.is_duplicate)
        for wrong in (0, -1, float("nan"), float("inf"), 1e9, "1h"):
            with self.assertRaises(cerebros.InvalidRequest):
                await self.client.submit({"dataset_id": "digits"}, expires=wrong)  # type: ignore[arg-type]

    async def test_a_second_submit_changes_nothing_and_says_so(self) -> None:
        first = await self.client.submit({"dataset_id": "digits"})
        self.assertEqual(ids.check(first), first)
        again = await self.client.submit({"dataset_id": "iris"}, run_id=first)
        self.assertEqual((again, again.sequence, again.is_duplicate), (first, first.sequence, True))
        info = await self.jetstream.stream_info("CEREBROS")
        self.assertEqual(info.state.messages, 1)

    async def test_a_request_that_was_taken_up_long_ago_is_a_duplicate_too(self) -> None:
        await self.record("r", state="completed", request_sequence=7)
        again = await self.client.submit({"dataset_id": "digits", "run_id": "r"})
        self.assertEqual((again.sequence, again.is_duplicate), (7, True))

    async def test_a_cancel_request_ahead_does_not_keep_a_request_back(self) -> None:
        await self.record("r", state="requested", request_sequence=0, first_sequence=2**64 - 1)
        self.assertFalse((await self.client.submit({"dataset_id": "digits"}, run_id="r")).is_duplicate)

    async def test_a_broker_that_comes_back_in_time_costs_a_submit_nothing(self) -> None:
        await self.client.connect()
        self.server.kill()
        submitting = asyncio.ensure_future(self.client.submit({"dataset_id": "digits"}))
        await asyncio.sleep(0)
        self.server.start()
        run = await asyncio.wait_for(submitting, DEADLINE_SECONDS)
        self.assertFalse(run.is_duplicate)
        self.assertEqual([each.run_id for each in await self.client.list()], [run])

    async def test_what_is_no_request_is_refused_before_anything_is_sent(self) -> None:
        for spec in ({}, {"dataset_id": ""}, {"dataset_id": "digits", "tau": float("nan")}, ["digits"]):
            with self.assertRaises(cerebros.InvalidRequest):
                await self.client.submit(spec)  # type: ignore[arg-type]
        for run in ("", "a/b", "a b", ".a", "a.", "a..b", "é", "x" * 129, "a\n"):
            with self.assertRaises(cerebros.InvalidRequest, msg=repr(run)):
                await self.client.submit({"dataset_id": "digits", "run_id": run})
        with self.assertRaises(cerebros.InvalidRequest):
            await self.client.submit({"dataset_id": "digits", "run_id": "a"}, run_id="b")
        with self.assertRaises(cerebros.InvalidRequest):
            await self.client.submit({"dataset_id": "digits", "extra": {"x": "y" * 600_000}})
        self.assertEqual((await self.jetstream.stream_info("CEREBROS")).state.messages, 0)

    async def test_a_result_is_the_outcome_of_the_run(self) -> None:
        run = await self.client.submit({"dataset_id": "digits"})
        end = {
            "run_id": run,
            "attempt": 1,
            "status": "succeeded",
            "best_metric": "NaN",
            "completed_trials": 3,
        }
        waiting = asyncio.ensure_future(self.client.result(run, timeout=DEADLINE_SECONDS))
        await self.publish(subjects.COMPLETED, {**end, "best_model": {"x": 1}, "duration_ms": 12})
        outcome = await waiting
        self.assertEqual(outcome.state, cerebros.RunState.COMPLETED)
        self.assertEqual((outcome.completed_trials, outcome.duration_ms), (3, 12))
        self.assertEqual(outcome.best_model, {"x": 1})
        self.assertNotEqual(outcome.best_metric, outcome.best_metric, "NaN is a float")

    async def test_a_failed_run_raises_its_failure_and_a_cancelled_one_its_reason(self) -> None:
        failure = {"class": "user_code", "stage": "execute", "message": "boom", "exit_code": 3}
        await self.publish(subjects.FAILED, {"run_id": "f", "attempt": 1, "failure": failure})
        with self.assertRaises(cerebros.RunFailed) as failed:
            await self.client.result("f", timeout=DEADLINE_SECONDS)
        self.assertEqual(failed.exception.failure.exit_code, 3)
        self.assertIn("user_code: boom", str(failed.exception))
        await self.publish(subjects.CANCELLED, {"run_id": "c", "attempt": 1, "reason": "enough"})
        with self.assertRaises(cerebros.RunCancelled) as cancelled:
            await self.client.result("c", timeout=DEADLINE_SECONDS)
        self.assertEqual(cancelled.exception.reason, "enough")

    async def test_a_run_that_never_starts_is_waited_for_no_longer_than_asked(self) -> None:
        await self.publish(subjects.REQUESTED, b"\xff garbage", {"Cerebros-Run-Id": "r"})
        with self.assertRaises(TimeoutError) as caught:
            await self.client.result("r", timeout=0.5)
        self.assertIsInstance(caught.exception, cerebros.ResultTimeout)
        self.assertIn("within 0.5 s", str(caught.exception))

    async def test_a_cancel_request_names_the_attempt_it_is_for(self) -> None:
        await self.record("r", attempt=2)
        self.assertTrue(await self.client.cancel("r", "enough"))
        self.assertTrue(await self.client.cancel("r", "enough"))
        message = await self.jetstream.get_msg("CEREBROS", 1)
        self.assertEqual(message.headers["Nats-Msg-Id"], "r:2:cancel_requested::")
        self.assertEqual(message.headers["Cerebros-Attempt"], "2")
        self.assertEqual(message.data, b'{"run_id":"r","reason":"enough"}')
        self.assertEqual((await self.jetstream.stream_info("CEREBROS")).state.messages, 1)
        await self.record("r", state="cancelled")
        self.assertFalse(await self.client.cancel("r"))
        with self.assertRaises(cerebros.RunUnknown):
            await self.client.cancel("nobody")

    async def test_the_list_has_what_is_claimed_and_what_is_not(self) -> None:
        await self.record("old", state="completed", best_metric="Infinity", completed_trials=3)
        await self.runs.put("broken", b"{")
        await self.record("gone")
        await self.runs.delete("gone")
        new = await self.client.submit({"dataset_id": "iris"})
        old, asked = await self.client.list()
        self.assertEqual((old.run_id, old.state, old.best_metric), ("old", "completed", float("inf")))
        self.assertEqual((asked.run_id, asked.state, asked.dataset_id), (new, "requested", "iris"))
        self.assertEqual([run.run_id for run in await self.client.list("completed")], ["old"])
        with self.assertRaises(cerebros.InvalidRequest):
            await self.client.list("done")

    async def test_a_run_tells_how_many_trials_it_may_have_and_has_at_once(self) -> None:
        await self.record("r", budget={"max_trials": 6, "parallelism": 3}, parallelism=2, running_trials=2)
        await self.record("capped", budget={"max_trials": 6, "parallelism": 3}, parallelism=9, state="failed")
        await self.record("ahead", request_sequence=0, state="requested")
        asked = await self.client.submit({"dataset_id": "digits"})
        shown = [await self.client.show(run) for run in ("r", "capped", "ahead", asked)]
        numbers = [(run.max_trials, run.parallelism, run.running_trials) for run in shown]
        self.assertEqual(numbers, [(6, 2, 2), (6, 3, 0), (None, None, 0), (10, 4, 0)])

    async def test_a_record_nobody_can_read_hides_no_other_run(self) -> None:
        await self.record("good")
        await self.runs.put("deep", b'{"run_id":"deep","spec":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        for run, oddity in {
            "state": {"state": "lost"},
            "time": {"requested_at": "0001-01-01T00:00:00+23:59"},
            "number": {"requested_at": 5},
            "attempt": {"attempt": None},
            "first": {"first_sequence": "1"},
        }.items():
            await self.record(run, **oddity)
            self.assertEqual([each.run_id for each in await self.client.list()], ["good"], run)
            with self.assertRaises(cerebros.RunUnknown, msg=run):
                await self.client.show(run)
        with self.assertRaises(cerebros.RunUnknown):
            await self.client.show("deep")
        self.assertEqual((await self.client.show("good")).run_id, "good")

    async def test_closing_raises_nothing_whatever_becomes_of_the_connection(self) -> None:
        for error in (asyncio.CancelledError(), RuntimeError("no transport"), asyncio.TimeoutError()):
            client = cerebros.AsyncClient(self.server.url)
            await client.connect()
            connection = await client._broker.connection()
            with mock.patch.object(connection, "close", side_effect=error):
                await client.close()
            await connection.close()


    async def test_closing_ends_the_library_s_tasks_even_one_that_swallows_a_cancellation(self) -> None:
        client = cerebros.AsyncClient(self.server.url)
        await client.connect()
        connection = await client._broker.connection()
        is_trying = asyncio.Event()

        async def swallow(*_: object) -> None:
            is_trying.set()
            try:
                await asyncio.sleep(DEADLINE_SECONDS)
            except asyncio.CancelledError:
                raise OSError("refused, just then") from None

        with mock.patch.object(connection, "_connect_to_server", swallow):
            self.server.kill()
            await asyncio.wait_for(is_trying.wait(), DEADLINE_SECONDS)
            with mock.patch.object(connection, "_connect_to_server", side_effect=OSError):
                await asyncio.wait_for(client.close(), DEADLINE_SECONDS)
        assert connection._reconnection_task is not None
        self.assertTrue(connection._reconnection_task.done())


class Bare(Stage):
    async def build(self) -> None:
        """A broker on which nothing was ever started."""

    async def test_a_broker_without_our_streams_is_an_error_that_says_what_to_start(self) -> None:
        for call in (
            self.client.submit({"dataset_id": "digits"}),
            self.client.submit({"dataset_id": "digits"}, run_id="r"),
            self.client.list(),
            self.client.show("r"),
            self.client.result("r", timeout=DEADLINE_SECONDS),
            self.collect("r"),
        ):
            with self.assertRaises(cerebros.StreamMissing) as caught:
                await call
            self.assertIn("cerebros up", str(caught.exception))

    async def test_nobody_there_is_an_error_that_names_the_url(self) -> None:
        self.server.kill()
        lonely = cerebros.AsyncClient(self.server.url, patience=0.5)
        with self.assertRaises(cerebros.BrokerUnreachable) as caught:
            await lonely.connect()
        self.assertIn(self.server.url, str(caught.exception))
        self.assertIn("cerebros up", str(caught.exception))

    async def test_a_broker_that_does_not_know_us_is_not_asked_twice(self) -> None:
        server = Server("--user", "someone", "--pass", "secret")
        self.addCleanup(server.close)
        async with cerebros.AsyncClient(server.url, user="someone", password="secret"):
            pass
        with self.assertRaises(cerebros.BrokerUnreachable) as caught:
            await asyncio.wait_for(cerebros.AsyncClient(server.url, patience=60).connect(), DEADLINE_SECONDS)
        self.assertIn("authorization", str(caught.exception).lower())

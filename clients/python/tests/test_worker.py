"""The client against a broker with a real worker on it: CEREBROS_TEST_NATS_URL."""

from __future__ import annotations

import unittest

import cerebros_client as cerebros

from . import begin_test
from .stage import required, until

PATIENCE_SECONDS = 90.0
"""Longest wait: the first run of a worker waits for its Python processes."""
SPEC = {"dataset_id": "digits", "trainer": "noop"}


class Worker(unittest.TestCase):
    def setUp(self) -> None:
        begin_test()
        self.client = cerebros.Client(required("CEREBROS_TEST_NATS_URL"))
        self.addCleanup(self.client.close)

    def test_a_run_is_submitted_watched_and_its_result_is_read(self) -> None:
        run = self.client.submit({**SPEC, "budget": {"max_trials": 5}, "tags": {"from": "test"}})
        events = list(self.client.watch(run))
        subjects = [event.subject for event in events]
        self.assertEqual(subjects[0], "cerebros.nas.run.requested")
        self.assertEqual(subjects.count("ml.run.trial"), 5)
        self.assertEqual(subjects[-1], "cerebros.nas.run.completed")
        self.assertEqual([event.seq for event in events], sorted({event.seq for event in events}))
        outcome = self.client.result(run, timeout=PATIENCE_SECONDS)
        self.assertEqual((outcome.completed_trials, outcome.status), (5, "succeeded"))
        best = max(event.data["metrics"]["accuracy"] for event in events if event.subject == "ml.run.trial")
        self.assertEqual(outcome.best_metric, best)
        middle = events[3].seq
        later = [event.seq for event in self.client.watch(run, since_seq=middle)]
        self.assertEqual(later, [event.seq for event in events[4:]])
        until("the registry has its end", lambda: self.client.show(run).state == "completed")
        details = self.client.show(run)
        self.assertEqual((details.spec["tags"], len(details.trials)), ({"from": "test"}, 5))
        self.assertEqual(details.trials[0].number, 0)
        self.assertTrue(self.client.submit(SPEC, run_id=run).is_duplicate)
        self.assertFalse(self.client.cancel(run))

    def test_a_request_that_is_taken_too_late_fails_as_expired(self) -> None:
        run = self.client.submit(SPEC, expires=1e-6)
        with self.assertRaises(cerebros.RunFailed) as caught:
            self.client.result(run, timeout=PATIENCE_SECONDS)
        failure = caught.exception.failure
        assert failure is not None
        self.assertEqual((failure.failure_class, failure.stage), ("expired", "validate"))
        self.assertIn("ce-expirytime", failure.message)

    def test_a_request_that_can_never_run_fails_with_the_worker_s_words(self) -> None:
        run = self.client.submit({"dataset_id": "no such data set"})
        with self.assertRaises(cerebros.RunFailed) as caught:
            self.client.result(run, timeout=PATIENCE_SECONDS)
        failure = caught.exception.failure
        assert failure is not None
        self.assertEqual((failure.failure_class, failure.stage), ("validation", "validate"))
        self.assertIn("no such data set", failure.message)
        until("the registry has it", lambda: self.client.show(run).failure == failure)

    def test_a_running_run_is_cancelled_with_its_reason(self) -> None:
        run = self.client.submit({**SPEC, "budget": {"max_trials": 100_000}})
        events = self.client.watch(run)
        next(event for event in events if event.subject == "ml.run.trial")
        events.close()
        self.assertTrue(self.client.cancel(run, "seen enough"))
        with self.assertRaises(cerebros.RunCancelled) as caught:
            self.client.result(run, timeout=PATIENCE_SECONDS)
        self.assertEqual(caught.exception.reason, "seen enough")
        # The end is announced first and written into the registry then.
        until("it is listed", lambda: run in [each.run_id for each in self.client.list("cancelled")])

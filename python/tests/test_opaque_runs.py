"""Opaque runs: `run_nas(spec, opts)`."""

import unittest
from typing import Any

from .driver import Child, Outcome


class OpaqueRuns(unittest.TestCase):
    child: Child

    @classmethod
    def setUpClass(cls) -> None:
        cls.child = Child()
        cls.addClassCleanup(cls.child.__exit__)
        cls.child.set_up()

    def run_nas(self, name: str) -> Outcome:
        return self.child.run_nas(f"opaque_runs:{name}")

    def test_a_search_reports_its_trials_and_returns_its_result(self) -> None:
        call_id = self.child.start_run_nas(
            "opaque_runs:runs_a_search", {"dataset_id": "iris"}, {"run_id": "r1"}
        )
        outcome = self.child.outcome(call_id)
        trials = [frame["trial"] for frame in outcome.of_type("trial")]
        self.assertEqual(
            trials,
            [
                {
                    "trial_id": "a",
                    "status": "succeeded",
                    "metrics": {"accuracy": 0.5},
                    "parameters": {"n": 1},
                },
                {"trial_id": "b", "status": "failed", "metrics": {"accuracy": "NaN"}},
                {"trial_id": "c", "status": "succeeded", "metrics": {}, "duration_ms": 3},
            ],
        )
        result = outcome.result
        self.assertEqual((result["status"], result["metrics"]), ("succeeded", {"accuracy": 0.5}))
        self.assertEqual(result["value"]["best_model"], {"layers": [8], "dataset": "iris"})
        self.assertEqual(result["value"]["completed_trials"], 3)
        self.assertEqual(result["value"]["metadata"], {"run_id": "r1"})

    def test_values_on_the_way_name_their_trial_and_their_steps_begin_anew(self) -> None:
        call_id = self.child.start_run_nas("opaque_runs:reports_on_the_way")
        reports = self.child.outcome(call_id).of_type("report")
        told = [(report["step"], report.get("number")) for report in reports]
        self.assertEqual(told, [(0, None), (1, None), (0, None), (5, 7)])

    def test_a_stop_ends_it_at_its_next_trial(self) -> None:
        call_id = self.child.start_run_nas("opaque_runs:runs_until_stopped")
        self.assertEqual(self.child.receive()["type"], "trial")
        self.child.stop(call_id, "cancelled")
        self.assertEqual(self.child.outcome(call_id).result["status"], "cancelled")

    def test_a_result_that_says_failed_is_a_failure_in_its_own_words(self) -> None:
        outcome = self.run_nas("run_says_it_failed")
        self.assertEqual(outcome.result["status"], "failed")
        self.assertEqual(outcome.failure["class"], "user_code")
        self.assertEqual(outcome.failure["message"], "the cluster said no")

    def test_a_result_that_is_no_dict_cannot_be_read(self) -> None:
        failure = self.run_nas("run_returns_text").failure
        self.assertEqual(failure["class"], "parse_error")
        self.assertIn("it returned str", failure["message"])

    def test_odd_values_arrive_in_their_agreed_form(self) -> None:
        value = self.run_nas("returns_odd_values").result["value"]
        expected: dict[str, Any] = {
            "status": "success",
            "text": "hé ✓ 😀",
            "bytes": "café",
            "broken_bytes": "\\xff\x00",
            "surrogate": "\\udce9",
            "moment": "2024-05-06T07:08:09+00:00",
            "day": "2024-05-06",
            "path": "/tmp/x",
            "tuple": [1, 2],
            "set": [1, 2, 3],
            "nan": "NaN",
            "decimal": 1.5,
            "large": "1180591620717411303424",
            "key": {"1": "one", "null": "none"},
        }
        self.assertEqual(value, expected)

    def test_values_without_a_form_are_refused_with_their_place(self) -> None:
        for name, words in [
            ("returns_a_cycle", "result.knot[0][0]: the value contains itself"),
            ("returns_deep_nesting", "nested deeper than 64 levels"),
            ("returns_a_doubling_structure", "more than 4194304 values"),
            ("returns_an_object", "result.model.layers[1]: object has no JSON form"),
        ]:
            with self.subTest(name=name):
                failure = self.run_nas(name).failure
                self.assertEqual(failure["class"], "user_code")
                self.assertIn(words, failure["message"])
                self.assertEqual(self.child.echo(1)["value"], 1)

    def test_report_trial_is_not_for_trainers(self) -> None:
        from cerebros_worker import report_trial

        with self.assertRaisesRegex(RuntimeError, "a trainer calls trial.report"):
            report_trial(metrics={})

"""`script.py`: one call in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict

from . import SOURCE

SCRIPT = SOURCE / "cerebros_worker" / "script.py"
FIXTURES = Path(__file__).parent / "fixtures"


class Script(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.workdir = scratch.name

    def ask(self, op: str, payload: Dict[str, Any], on_stdin: bool = True) -> Dict[str, Any]:
        """The answer, which is the last line printed."""
        question = json.dumps({"op": op, "payload": payload})
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(SOURCE), str(FIXTURES)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CEREBROS_BRIDGE_PAYLOAD": question,
        }
        ended = subprocess.run(
            [sys.executable, str(SCRIPT), "--bridge-op", op],
            input=question if on_stdin else "",
            capture_output=True,
            check=True,
            cwd=self.workdir,
            env=environment,
            text=True,
            timeout=60,
        )
        answer: Dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return answer

    def train(self, entry: str, **more: Any) -> Dict[str, Any]:
        trial = {"workdir": self.workdir, "objective": "accuracy", **more}
        return self.ask("train", {"entry": entry, "params": {"x": 0.5}, "trial": trial})

    def run_nas(self, entry: str, **opts: Any) -> Dict[str, Any]:
        spec = {"dataset_id": "iris", "search_space": {}}
        payload = {"entrypoint": entry, "spec": spec, "opts": {"run_id": "r", "seed": 1, **opts}}
        return self.ask("run_nas", payload)

    def test_a_trainer_s_result_is_the_last_thing_printed(self) -> None:
        answer = self.train("faulty_trainers:prints_a_megabyte")
        self.assertEqual(answer["status"], "succeeded")
        self.assertIn("accuracy", answer["metrics"])

    def test_a_failure_is_an_answer_too(self) -> None:
        for entry, failure_class in [
            ("faulty_trainers:raises", "user_code"),
            ("faulty_trainers:calls_sys_exit", "user_code"),
            ("faulty_trainers:returns_nan", "nan_objective"),
            ("faulty_trainers:no_such_function", "validation"),
            ("faulty_trainers:imports_a_missing_package", "dependency"),
        ]:
            with self.subTest(entry=entry):
                answer = self.train(entry)
                self.assertEqual(answer["status"], "failed")
                self.assertEqual(answer["failure"]["class"], failure_class)

    def test_the_question_may_be_in_the_environment(self) -> None:
        payload = {"entry": "noop", "params": {}, "trial": {"workdir": self.workdir}}
        self.assertEqual(self.ask("train", payload, on_stdin=False)["status"], "succeeded")

    def test_a_search_lists_its_trials_in_its_answer(self) -> None:
        answer = self.run_nas("opaque_runs:runs_a_search")
        returned = answer["cerebros_call"]["value"]
        self.assertEqual((returned["status"], returned["best_metric"]), ("success", 0.5))
        self.assertEqual([trial["trial_id"] for trial in answer["trials"]], ["a", "b", "c"])

    def test_a_search_is_stopped_by_the_first_trial_too_many(self) -> None:
        answer = self.run_nas("searches:tells_without_end", budget={"max_trials": 3})
        self.assertEqual(answer["cerebros_call"]["status"], "cancelled")
        self.assertEqual(len(answer["trials"]), 4)
        known = [{"number": 0}, {"number": 1}, {"number": 9}]
        answer = self.run_nas(
            "searches:tells_without_end", budget={"max_trials": 4}, resumed_trials=known
        )
        self.assertEqual(len(answer["trials"]), 4, "two known ones again, one new, one too many")

    def test_a_search_that_fails_says_so_in_its_own_words(self) -> None:
        answer = self.run_nas("searches:says_it_failed")
        result = answer["cerebros_call"]
        self.assertEqual(
            (result["status"], result["failure"]["message"]), ("failed", "the cluster said no")
        )
        failure = self.run_nas("searches:raises")["cerebros_call"]["failure"]
        self.assertEqual(failure["class"], "user_code")
        self.assertIn("no such thing", failure["traceback"])

    def test_keys_of_a_search_s_own_result_are_kept_apart_from_what_it_told(self) -> None:
        answer = self.run_nas("searches:has_keys_of_its_own")
        self.assertEqual(len(answer["trials"]), 1)
        self.assertEqual(answer["cerebros_call"]["value"]["reports"], [1, 2])

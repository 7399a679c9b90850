"""The frames of a well-behaved child, spoken with a real one."""

import os
import sys
import unittest

from .driver import Child, ChildEnded, Outcome


class Handshake(unittest.TestCase):
    def test_a_child_says_hello_at_once_and_ready_after_its_imports(self) -> None:
        with Child() as child:
            hello = child.receive()
            self.assertEqual(hello["type"], "hello")
            self.assertEqual(hello["protocol"], 1)
            self.assertEqual(hello["pid"], child.process.pid)
            self.assertRegex(hello["python"], r"^3\.\d+\.\d+$")
            child.send({"type": "init", "protocol": 1, "preload": ["noop"]})
            ready = child.receive()
            self.assertEqual(ready["type"], "ready")
            self.assertEqual(ready["trainers"], ["mlp", "noop"])
            self.assertEqual((ready["pid"], ready["python"]), (hello["pid"], hello["python"]))
            self.assertGreaterEqual(ready["import_ms"], 0)

    def test_descriptors_3_and_4_are_the_default(self) -> None:
        with Child(low_numbers=True) as child:
            self.assertEqual(child.set_up()["type"], "ready")
            self.assertEqual(child.echo("x")["value"], "x")

    def test_a_preload_that_cannot_be_imported_is_fatal_and_named(self) -> None:
        for entry, failure_class, words in [
            ("no_such_module:train", "validation", "there is no module 'no_such_module'"),
            ("faulty_trainers:nothing", "validation", "has no function 'nothing'"),
            ("what is this", "validation", "neither a trainer"),
        ]:
            with self.subTest(entry=entry), Child() as child:
                fatal = child.set_up(preload=["noop", entry])
                self.assertEqual(fatal["type"], "fatal")
                self.assertEqual(fatal["failure"]["class"], failure_class)
                self.assertIn(words, fatal["failure"]["message"])
                self.assertEqual(child.wait(), 3)

    def test_another_protocol_is_fatal_and_named(self) -> None:
        with Child() as child:
            fatal = child.set_up(protocol=2)
            self.assertEqual(fatal["type"], "fatal")
            self.assertIn("speaks protocol 1", fatal["failure"]["message"])
            self.assertEqual(child.wait(), 3)

    def test_started_by_hand_it_says_what_it_is(self) -> None:
        with Child(environ={"CEREBROS_FRAMES_IN": "77"}, low_numbers=True) as child:
            self.assertEqual(child.wait(), 2)
            self.assertIn("start `bridge-worker`", child.stderr())


class Calls(unittest.TestCase):
    child: Child

    @classmethod
    def setUpClass(cls) -> None:
        cls.child = Child()
        cls.addClassCleanup(cls.child.__exit__)
        cls.child.set_up(preload=["noop"])

    def faulty(self, name: str, **params: object) -> Outcome:
        return self.child.train(f"faulty_trainers:{name}", params)

    def test_echo_returns_what_it_was_given(self) -> None:
        for value in (None, 0, -1.5, "ü✓😀\x00", [], {"a": [{"b": None}]}, "x" * 3_000_000):
            result = self.child.echo(value)
            self.assertEqual((result["status"], result["value"]), ("succeeded", value))

    def test_a_trial_returns_metrics_parameters_and_its_cost(self) -> None:
        result = self.child.train("noop", {"x": 0.75, "layers": [1]}).result
        self.assertEqual(result["status"], "succeeded")
        self.assertEqual(result["metrics"], {"accuracy": 0.75})
        self.assertEqual(result["value"], 0.75)
        self.assertEqual(result["parameters"], {"x": 0.75, "layers": [1]})
        self.assertEqual((result["spectral_norm"], result["spectral_norm_value"]), (False, None))
        self.assertEqual((result["warnings"], result["failure"]), ([], None))
        self.assertGreater(result["max_rss_bytes"], 1_000_000)
        self.assertGreaterEqual(result["duration_ms"], 0)
        self.assertGreaterEqual(result["cpu_ms"], 0)

    def test_a_number_returned_is_the_objective(self) -> None:
        call_id = self.child.start_train("faulty_trainers:prints_a_line", objective="f1")
        self.assertEqual(self.child.outcome(call_id).result["metrics"], {"f1": 0.5})

    def test_reports_arrive_before_the_result_with_their_step(self) -> None:
        outcome = self.faulty("sleeps_in_slices", seconds=0.05, slice_ms=10)
        reports = outcome.of_type("report")
        self.assertEqual([report["step"] for report in reports], [0, 1, 2, 3, 4])
        self.assertEqual(reports[1]["metrics"], {"accuracy": 0.2})

    def test_artifacts_are_announced_and_odd_names_refused(self) -> None:
        names = {"names": ["../x", "a/b", "", "."]}
        outcome = self.child.train("probes:saves_artifacts", names)
        self.assertEqual(outcome.result["metrics"]["refused"], 4)
        first, second = outcome.of_type("artifact")
        self.assertEqual(first["name"], "by-bytes.json")
        self.assertEqual(first["media_type"], "application/json")
        self.assertEqual((second["name"], second["bytes"]), ("by-path.txt", 11))
        with open(second["path"], "rb") as file:
            self.assertEqual(file.read(), b"from a file")

    def test_the_seed_decides_the_random_numbers_and_the_workdir_the_directory(self) -> None:
        drawn = [
            self.child.train("probes:draws_random_numbers", seed=seed).result["metrics"]
            for seed in (1, 2, 1, 2**64 - 1)
        ]
        self.assertEqual(drawn[0], drawn[2])
        self.assertEqual(len({metrics["accuracy"] for metrics in drawn}), 3)
        self.assertEqual([metrics["directory"] for metrics in drawn], [1.0] * 4)
        home = os.readlink(f"/proc/{self.child.process.pid}/cwd")
        self.assertEqual(home, os.path.realpath(self.child.directory))

    def test_pruning_and_cancelling_end_a_trial_at_its_next_report(self) -> None:
        for reason, trainer in [
            ("pruned", "sleeps_in_slices"),
            ("cancelled", "sleeps_in_slices"),
            ("pruned", "swallows_every_stop"),
            ("pruned", "fails_after_a_stop"),
            ("cancelled", "catches_exceptions_while_reporting"),
        ]:
            with self.subTest(reason=reason, trainer=trainer):
                call_id = self.child.start_train(f"faulty_trainers:{trainer}")
                self.assertEqual(self.child.receive()["type"], "report")
                self.child.stop(call_id, reason)
                result = self.child.outcome(call_id).result
                self.assertEqual(result["status"], reason)
                self.assertIn("accuracy", result["metrics"])
                self.assertIsNone(result["failure"])

    def test_a_stop_that_comes_too_late_hurts_nobody(self) -> None:
        call_id = self.child.start_train("noop")
        self.child.outcome(call_id)
        self.child.stop(call_id, "cancelled")
        self.assertEqual(self.faulty("sleeps_in_slices", seconds=0.05).result["value"], 1.0)

    def test_calls_may_wait_in_the_pipe_and_be_stopped_there(self) -> None:
        first = self.child.start_train("faulty_trainers:sleeps_in_slices", {"seconds": 0.2})
        second = self.child.start_train("faulty_trainers:sleeps_in_slices")
        self.child.stop(second, "cancelled")
        self.assertEqual(self.child.outcome(first).result["status"], "succeeded")
        self.assertEqual(self.child.outcome(second).result["status"], "cancelled")

    def test_an_entry_that_does_not_exist_is_the_requests_fault(self) -> None:
        for entry, words in [
            ("mpl", "neither a trainer (mlp, noop) nor of the form module:function"),
            ("no.such.module:train", "there is no module 'no'"),
            ("faulty_trainers.deeper:train", "there is no module 'faulty_trainers.deeper'"),
            ("faulty_trainers:absent", "has no function 'absent'"),
            ("faulty_trainers:MAX_WAIT_SECONDS", "has no function"),
            ("os:../x", "neither a trainer"),
            (None, "neither a trainer"),
        ]:
            with self.subTest(entry=entry):
                failure = self.child.train(entry).failure  # type: ignore[arg-type]
                self.assertEqual((failure["class"], failure["retryable"]), ("validation", False))
                self.assertIn(words, failure["message"])

    def test_an_unknown_operation_is_refused(self) -> None:
        call_id = self.child._start(op="dance", trial={})
        failure = self.child.outcome(call_id).failure
        self.assertEqual(failure["class"], "validation")
        self.assertIn("unknown operation 'dance'", failure["message"])

    def test_a_working_directory_that_is_gone_is_named(self) -> None:
        failure = self.child.train("noop", workdir="/no/such/directory").failure
        self.assertEqual(failure["class"], "dependency")
        self.assertIn("/no/such/directory", failure["message"])


class BrokenProtocol(unittest.TestCase):
    def test_a_worker_that_sends_rubbish_is_told_and_left(self) -> None:
        for rubbish in (b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1{"):
            with self.subTest(rubbish=rubbish), Child() as child:
                child.set_up()
                child.send_bytes(rubbish)
                fatal = child.receive()
                self.assertEqual(fatal["type"], "fatal")
                self.assertEqual(fatal["failure"]["class"], "parse_error")
                with self.assertRaises(ChildEnded):
                    child.receive()
                self.assertEqual(child.wait(), 4)


if sys.platform != "linux":
    raise AssertionError("these tests read /proc; the worker itself is for Linux")

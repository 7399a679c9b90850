"""Whatever user code does is one result of the right class, and the next call works."""

import signal
import unittest
from typing import Any

from .driver import Child, ChildEnded, Outcome


class Misbehaviour(unittest.TestCase):
    child: Child

    @classmethod
    def setUpClass(cls) -> None:
        cls.child = Child()
        cls.addClassCleanup(cls.child.__exit__)
        cls.child.set_up(preload=["noop"])

    def run_faulty(self, name: str, **params: Any) -> Outcome:
        outcome = self.child.train(f"faulty_trainers:{name}", params)
        # The slot is usable again, and knows nothing of the trial before.
        after = self.child.train("noop", {"x": 0.25}).result
        self.assertEqual((after["status"], after["warnings"]), ("succeeded", []))
        self.assertEqual(after["metrics"], {"accuracy": 0.25})
        return outcome

    def assert_failed(self, name: str, failure_class: str, words: str, **params: Any) -> Outcome:
        outcome = self.run_faulty(name, **params)
        self.assertEqual(outcome.result["status"], "failed")
        self.assertEqual(outcome.failure["class"], failure_class)
        self.assertIn(words, outcome.failure["message"])
        self.assertIs(outcome.failure["retryable"], False)
        return outcome

    def test_an_error_is_told_with_the_users_frames_and_the_metrics_so_far(self) -> None:
        outcome = self.assert_failed("raises", "user_code", "ZeroDivisionError")
        told = outcome.failure["traceback"]
        self.assertIn("faulty_trainers.py", told)
        self.assertIn("in _divide", told)
        self.assertNotIn("calls.py", told)
        self.assertEqual(outcome.result["metrics"], {"accuracy": 0.25})

    def test_errors_of_every_kind_have_their_class(self) -> None:
        for name, failure_class, words in [
            ("raises_bytes_in_message", "user_code", "ValueError: caf"),
            ("raises_hostile_exception", "user_code", "Hostile"),
            ("recurses_for_ever", "user_code", "RecursionError"),
            ("raises_memory_error", "oom", "cannot allocate the layer"),
            ("calls_sys_exit", "user_code", "sys.exit with code 5"),
            ("raises_keyboard_interrupt", "user_code", "KeyboardInterrupt"),
            ("imports_a_missing_package", "dependency", "no_such_package_at_all"),
            ("returns_nan", "nan_objective", "the objective 'accuracy' is nan"),
            ("returns_nothing", "user_code", "train returned None"),
            ("returns_other_metrics", "user_code", "'accuracy' is missing: returned f1, loss"),
            ("returns_bytes", "user_code", "accuracy is bytes, not a number"),
            ("returns_too_much", "user_code", "8388608 bytes (8 MiB)"),
        ]:
            with self.subTest(name=name):
                self.assert_failed(name, failure_class, words)

    def test_a_failed_objective_keeps_the_metrics(self) -> None:
        self.assertEqual(self.run_faulty("returns_nan").result["metrics"], {"accuracy": "NaN"})
        other = self.run_faulty("returns_other_metrics").result["metrics"]
        self.assertEqual(other, {"loss": 0.1, "f1": 0.9})

    def test_other_metrics_may_be_infinite(self) -> None:
        result = self.run_faulty("returns_infinity_beside_the_objective").result
        self.assertEqual(result["status"], "succeeded")
        self.assertEqual(
            result["metrics"],
            {"accuracy": 0.5, "loss": "Infinity", "gap": "-Infinity", "odd": "NaN"},
        )

    def test_printing_never_touches_the_protocol(self) -> None:
        before = len(self.child.stdout())
        for name in ("prints_frames", "prints_a_megabyte"):
            with self.subTest(name=name):
                self.assertEqual(self.run_faulty(name).result["value"], 0.5)
        self.assertGreaterEqual(len(self.child.stdout()) - before, 1024 * 1024)
        self.assertIn("the end", self.child.stderr())

    def test_descriptors_can_be_written_to_and_closed_by_number(self) -> None:
        for name in ("writes_to_low_descriptors", "closes_low_descriptors", "reads_stdin"):
            with self.subTest(name=name):
                self.assertEqual(self.run_faulty(name).result["value"], 0.5)

    def test_closed_standard_streams_are_open_again_for_the_next_trial(self) -> None:
        self.run_faulty("closes_low_descriptors")
        before = len(self.child.stdout())
        self.assertEqual(self.run_faulty("prints_a_line").result["status"], "succeeded")
        self.assertEqual(self.child.stdout()[before:], b"still here\n")

    def test_programs_it_starts_inherit_no_descriptor_of_ours(self) -> None:
        outcome = self.child.train("probes:sees_inherited_descriptors")
        self.assertEqual(outcome.result["value"], 0.0)

    def test_pools_of_processes_work_however_they_start(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method=method):
                outcome = self.child.train("probes:uses_a_process_pool", {"method": method})
                self.assertEqual(outcome.result["value"], 14.0, outcome.failure)

    def test_only_the_original_of_a_forked_trainer_answers(self) -> None:
        outcome = self.run_faulty("fork_comes_back")
        self.assertEqual(outcome.result["value"], 0.5)
        self.assertEqual(outcome.of_type("report"), [])

    def test_a_thread_left_behind_cannot_speak_after_the_result(self) -> None:
        self.assertEqual(self.run_faulty("leaves_a_thread_behind").result["value"], 0.5)
        for number in range(200):
            self.assertEqual(self.child.echo(number)["value"], number)

    def test_warnings_are_collected_bounded_and_the_same_every_time(self) -> None:
        for _ in range(2):
            texts = self.run_faulty("warns").result["warnings"]
            self.assertEqual(len(texts), 20)
            self.assertEqual({len(text) for text in texts}, {500})
            self.assertTrue(texts[0].startswith("UserWarning: warning 0 "))


class Death(unittest.TestCase):
    def test_the_process_ends_in_the_way_it_was_made_to(self) -> None:
        for name, status in [
            ("exits_at_once", 7),
            ("kills_itself", -signal.SIGKILL),
            ("segfaults", -signal.SIGSEGV),
        ]:
            with self.subTest(name=name), Child() as child:
                child.set_up()
                call_id = child.start_train(f"faulty_trainers:{name}")
                with self.assertRaises(ChildEnded):
                    child.outcome(call_id)
                self.assertEqual(child.wait(), status)

    def test_last_words_and_the_place_of_a_crash_are_not_lost(self) -> None:
        with Child() as child:
            child.set_up()
            child.start_train("faulty_trainers:exits_at_once")
            child.wait()
            self.assertEqual(child.stdout(), b"last words\n")
        with Child() as child:
            child.set_up()
            child.start_train("faulty_trainers:segfaults")
            child.wait()
            self.assertIn("in segfaults", child.stderr())

    def test_running_out_of_an_allowance_of_memory_is_oom(self) -> None:
        with Child(memory_limit_bytes=512 * 1024 * 1024) as child:
            child.set_up()
            outcome = child.train("faulty_trainers:allocates", {"megabytes": 4096})
            self.assertEqual(outcome.failure["class"], "oom")
            self.assertEqual(
                child.train("faulty_trainers:allocates", {"megabytes": 64}).result["value"], 4.0
            )

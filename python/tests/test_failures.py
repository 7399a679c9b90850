"""Failure records."""

import gc
import unittest
import weakref
from typing import Any

from cerebros_worker import failures
from cerebros_worker.failures import MAX_TRACEBACK_BYTES, describe


def caught(act: Any) -> BaseException:
    try:
        act()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def fail(error: BaseException) -> Any:
    def act() -> None:
        raise error

    return act


class Failures(unittest.TestCase):
    def test_every_error_has_its_class(self) -> None:
        for error, failure_class in [
            (failures.InvalidRequest("x"), "validation"),
            (failures.DependencyMissing("x"), "dependency"),
            (failures.ObjectiveNotFinite("x"), "nan_objective"),
            (failures.UnreadableResult("x"), "parse_error"),
            (failures.NotSendable("x"), "user_code"),
            (ModuleNotFoundError("No module named 'x'", name="x"), "dependency"),
            (MemoryError(), "oom"),
            (ValueError("x"), "user_code"),
            (SystemExit(3), "user_code"),
            (KeyboardInterrupt(), "user_code"),
        ]:
            with self.subTest(error=error):
                described = describe(caught(fail(error)))
                self.assertEqual(described["class"], failure_class)
                self.assertIs(described["retryable"], False)

    def test_the_message_names_the_error(self) -> None:
        self.assertEqual(describe(ValueError("bad width"))["message"], "ValueError: bad width")
        self.assertEqual(describe(KeyboardInterrupt())["message"], "KeyboardInterrupt")
        self.assertIn("sys.exit with code 3", describe(SystemExit(3))["message"])
        self.assertLessEqual(len(describe(ValueError("x" * 10**6))["message"]), 2_000)

    def test_the_traceback_is_bounded_and_keeps_the_end(self) -> None:
        error: BaseException = ValueError("innermost cause")
        for _ in range(40):
            effect = RuntimeError("z" * 500)
            effect.__cause__ = error
            error = effect
        text = describe(caught(fail(error)))["traceback"]
        self.assertLessEqual(len(text.encode()), MAX_TRACEBACK_BYTES)
        self.assertIn("(shortened)", text)
        self.assertTrue(text.rstrip().endswith("z" * 100))

    def test_a_traceback_of_runtime_frames_alone_is_left_out(self) -> None:
        from cerebros_worker.frames import Decoder

        inside = caught(lambda: Decoder().feed(b"\xff\xff\xff\xff\xff"))
        text = describe(inside)["traceback"]
        self.assertIn("test_failures.py", text)
        self.assertNotIn("frames.py", text)
        self.assertIsNone(describe(failures.InvalidRequest("never raised"))["traceback"])

    def test_a_hostile_exception_is_still_described(self) -> None:
        class Hostile(Exception):
            def __str__(self) -> str:
                raise SystemExit("gotcha")

        self.assertIn("Hostile", describe(caught(fail(Hostile())))["message"])

    def test_what_a_failed_trainer_held_is_let_go(self) -> None:
        class Weights:
            pass

        seen = []

        def train() -> None:
            weights = Weights()
            seen.append(weakref.ref(weights))
            raise ValueError

        error = caught(train)
        self.assertIsNotNone(seen[0]())
        describe(error)
        gc.collect()
        self.assertIsNone(seen[0]())

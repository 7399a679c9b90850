"""The limits a child sets on itself before it imports anything of others."""

import os
import resource
import signal
import unittest
from pathlib import Path

from .driver import Child, wait_until_gone

MEBIBYTE = 1 << 20


def limits_of(child: Child) -> str:
    return Path(f"/proc/{child.process.pid}/limits").read_text()


class Limits(unittest.TestCase):
    def test_core_dumps_are_off_whatever_is_asked_for(self) -> None:
        with Child() as child:
            child.set_up()
            self.assertRegex(limits_of(child), r"Max core file size +0 +0 ")

    def test_soft_and_hard_limits_are_the_same_and_hold_before_the_first_import(self) -> None:
        with Child() as child:
            wanted = {"open_files": 128, "memory_bytes": 256 * MEBIBYTE}
            # The module is imported during the handshake and notes what it finds.
            answer = child.set_up(preload=["notes_limits:train"], limits=wanted)
            self.assertEqual(answer["type"], "ready", answer)
            self.assertRegex(limits_of(child), r"Max open files +128 +128 ")
            self.assertRegex(limits_of(child), rf"Max data size +{256 * MEBIBYTE} +{256 * MEBIBYTE} ")
            metrics = child.train("notes_limits:train").result["metrics"]
            self.assertEqual(metrics["files"], 128)
            self.assertEqual(metrics["memory"], 256 * MEBIBYTE)

    def test_a_limit_is_never_raised(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with Child() as child:
            self.assertEqual(child.set_up(limits={"open_files": hard + 1})["type"], "ready")
            self.assertRegex(limits_of(child), rf"Max open files +{hard} +{hard} ")

    def test_the_kernel_takes_a_child_before_its_worker(self) -> None:
        with Child() as child:
            child.set_up()
            score = Path(f"/proc/{child.process.pid}/oom_score_adj").read_text()
            self.assertEqual(int(score), 500)

    def test_too_much_memory_is_an_error_of_class_oom_and_the_next_call_works(self) -> None:
        with Child() as child:
            child.set_up(limits={"memory_bytes": 128 * MEBIBYTE})
            failure = child.train("hostile_trainers:allocates_without_end").failure
            self.assertEqual(failure["class"], "oom")
            self.assertIn("hostile_trainers.py", failure["traceback"])
            self.assertEqual(child.train("noop").result["status"], "succeeded")

    def test_a_child_without_free_descriptors_says_that_it_is_worn_out(self) -> None:
        with Child() as child:
            child.set_up(limits={"open_files": 64})
            fresh = child.train("noop").result
            self.assertIsNone(fresh["worn_out"])
            some = child.train("hostile_trainers:keeps_many_files_open", {"count": 40}).result
            self.assertIn("of 64 descriptors open", some["worn_out"])
            outcome = child.train("hostile_trainers:opens_files_without_end")
            self.assertEqual(outcome.failure["class"], "user_code")
            self.assertEqual(outcome.result["worn_out"], "the trial left no descriptor free")


class Orphans(unittest.TestCase):
    def test_a_process_that_was_given_up_in_another_session_stays_below_the_child(self) -> None:
        with Child() as child:
            child.set_up()
            child.train("hostile_trainers:leaves_a_daemon", {"marks": str(child.directory)})
            (mark,) = child.directory.glob("*.pid")
            daemon = int(mark.read_text())
            try:
                parent = Path(f"/proc/{daemon}/stat").read_text().rsplit(")", 1)[1].split()[1]
                self.assertEqual(int(parent), child.process.pid)
                self.assertNotEqual(os.getsid(daemon), os.getsid(child.process.pid))
            finally:
                os.kill(daemon, signal.SIGKILL)
            wait_until_gone(daemon)

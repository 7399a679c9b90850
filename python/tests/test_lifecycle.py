"""A child does not outlive its worker, and shows that it lives."""

import signal
import unittest
from pathlib import Path

from .driver import Child, Deadline, wait_until_gone


def wait_for_file(child: Child, name: str) -> str:
    """The content of a file that a fixture writes into the working directory."""
    path = child.workdir / name
    deadline = Deadline()
    while not path.exists() or not path.read_text():
        deadline.check(f"{name} was not written")
    return path.read_text()


class Lifeline(unittest.TestCase):
    def test_an_idle_child_dies_with_its_worker(self) -> None:
        with Child() as child:
            child.set_up()
            child.close_lifeline()
            self.assertEqual(child.wait(), -signal.SIGKILL)

    def test_a_child_that_was_never_set_up_dies_too(self) -> None:
        with Child() as child:
            child.receive()
            child.close_lifeline()
            self.assertEqual(child.wait(), -signal.SIGKILL)

    def test_so_does_one_that_hangs_deaf(self) -> None:
        with Child() as child:
            child.set_up()
            child.start_train("faulty_trainers:hangs_with_signals_blocked")
            wait_for_file(child, "hanging")
            child.close_lifeline()
            self.assertEqual(child.wait(), -signal.SIGKILL)

    def test_so_does_one_that_holds_the_interpreter(self) -> None:
        with Child() as child:
            child.set_up()
            child.start_train("faulty_trainers:hangs_holding_the_interpreter")
            wait_for_file(child, "hanging")
            child.close_lifeline()
            self.assertEqual(child.wait(), -signal.SIGKILL)

    def test_and_its_grandchildren(self) -> None:
        for then in ("hang", "return"):
            with self.subTest(then=then), Child() as child:
                child.set_up()
                child.start_train("faulty_trainers:forks_a_grandchild", {"then": then})
                grandchild = int(wait_for_file(child, "grandchild.pid"))
                child.close_lifeline()
                self.assertEqual(child.wait(), -signal.SIGKILL)
                wait_until_gone(grandchild)

    def test_the_thread_alone_is_enough_where_the_kernel_cannot_help(self) -> None:
        unarmed = "import cerebros_worker.lifeline as l; l.arm_kernel_guard = lambda _: False"
        with Child(prelude=unarmed) as child:
            child.set_up()
            child.close_lifeline()
            self.assertEqual(child.wait(), -signal.SIGKILL)


class Retirement(unittest.TestCase):
    def test_closing_the_frames_ends_an_idle_child_well(self) -> None:
        with Child() as child:
            child.set_up()
            child.close_frames()
            self.assertEqual(child.wait(), 0)

    def test_a_running_call_is_finished_first(self) -> None:
        with Child() as child:
            child.set_up()
            call_id = child.start_train("faulty_trainers:sleeps_in_slices", {"seconds": 0.2})
            child.receive()
            child.close_frames()
            self.assertEqual(child.outcome(call_id).result["status"], "succeeded")
            self.assertEqual(child.wait(), 0)

    def test_a_thread_left_behind_cannot_hold_it_up(self) -> None:
        with Child() as child:
            child.set_up()
            child.train("faulty_trainers:leaves_a_thread_behind")
            child.close_frames()
            self.assertEqual(child.wait(), 0)

    def test_an_interrupt_from_the_terminal_is_not_for_the_child(self) -> None:
        with Child() as child:
            child.set_up()
            child.process.send_signal(signal.SIGINT)
            self.assertEqual(child.echo(1)["value"], 1)


class Heartbeats(unittest.TestCase):
    def test_they_come_idle_and_busy_and_name_the_call(self) -> None:
        with Child() as child:
            child.set_up(heartbeat_ms=20)
            idle = child.next_frame()
            self.assertEqual(idle, {"type": "heartbeat", "id": None})
            call_id = child.start_train("faulty_trainers:sleeps_in_slices", {"seconds": 0.3})
            child.outcome(call_id)
            self.assertIn({"type": "heartbeat", "id": call_id}, child.heartbeats)

    def test_none_comes_before_ready(self) -> None:
        with Child() as child:
            slow = Path(child.directory, "slow_import.py")
            slow.write_text("import time\ntime.sleep(0.2)\ndef train(p, t): return 1.0\n")
            ready = child.set_up(
                heartbeat_ms=10, preload=["slow_import:train"], extra_paths=[str(child.directory)]
            )
            self.assertEqual(ready["type"], "ready")
            self.assertGreaterEqual(ready["import_ms"], 200)
            self.assertEqual(child.heartbeats, [])

    def test_none_comes_while_the_interpreter_is_held(self) -> None:
        with Child() as child:
            child.set_up(heartbeat_ms=20)
            child.start_train("faulty_trainers:hangs_holding_the_interpreter")
            wait_for_file(child, "hanging")
            with self.assertRaises(TimeoutError):
                while True:
                    child.next_frame(deadline_seconds=0.5)

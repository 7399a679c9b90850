"""When cyclic garbage is collected."""

import unittest
from unittest import mock

from cerebros_worker import garbage


class Garbage(unittest.TestCase):
    def collections(self, calls: "list[tuple[float, bool]]", cost_seconds: float) -> "list[bool]":
        """Whether each call of the given length and outcome was followed by a collection."""
        now = [0.0]

        def collect() -> None:
            now[0] += cost_seconds

        with mock.patch.object(garbage.time, "perf_counter", lambda: now[0]):
            with mock.patch.object(garbage.gc, "collect", side_effect=collect) as collected:
                collector = garbage.Collector()
                seen = []
                for seconds, failed in calls:
                    before = collected.call_count
                    collector.after_call(seconds, failed)
                    seen.append(collected.call_count > before)
                return seen

    def test_long_calls_are_followed_by_one_each(self) -> None:
        self.assertEqual(self.collections([(1.0, False)] * 3, 0.01), [True] * 3)

    def test_short_calls_share_one(self) -> None:
        seen = self.collections([(0.001, False)] * 1_001, 0.01)
        self.assertEqual(seen.index(True), 0)
        self.assertEqual(sum(seen), 6)

    def test_a_failure_is_always_followed_by_one(self) -> None:
        self.assertEqual(self.collections([(0.0, True)] * 3, 1.0), [True] * 3)

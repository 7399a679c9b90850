"""Conversion of user values to plain JSON values."""

import collections
import datetime
import decimal
import enum
import json
import pathlib
import random
import string
import unittest
import uuid
from typing import Any
from unittest import mock

from cerebros_worker import plain
from cerebros_worker.failures import NotSendable
from cerebros_worker.plain import MAX_DEPTH, to_metrics, to_number, to_plain


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Array:
    """What numeric libraries have in common."""

    def __init__(self, content: Any, size: int = 1) -> None:
        self.content, self.size = content, size

    def tolist(self) -> Any:
        return self.content


class Scalar:
    def item(self) -> float:
        return 0.25


class Endless:
    def tolist(self) -> Any:
        return Endless()


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def random_value(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(7 if depth < 4 else 5)
    if kind == 0:
        return dice.choice([None, True, False])
    if kind == 1:
        return dice.randint(-(2**63), 2**64 - 1)
    if kind == 2:
        return dice.uniform(-1e300, 1e300)
    if kind in (3, 4):
        return "".join(dice.choices(string.printable + "äß✓😀\x00", k=dice.randrange(12)))
    if kind == 5:
        return [random_value(dice, depth + 1) for _ in range(dice.randrange(5))]
    return {f"k{n}": random_value(dice, depth + 1) for n in range(dice.randrange(5))}


class Plain(unittest.TestCase):
    def test_json_values_stay_what_they_are(self) -> None:
        dice = random.Random(2)
        for _ in range(500):
            value = random_value(dice)
            self.assertEqual(to_plain(value), value)
            self.assertEqual(json.loads(json.dumps(to_plain(value))), value)

    def test_other_values_get_their_agreed_form(self) -> None:
        utc = datetime.timezone.utc
        for value, form in [
            (b"caf\xc3\xa9", "café"),
            (bytearray(b"\xff"), "\\xff"),
            ("\udce9", "\\udce9"),
            (float("nan"), "NaN"),
            (float("inf"), "Infinity"),
            (float("-inf"), "-Infinity"),
            (decimal.Decimal("1.5"), 1.5),
            (2**70, str(2**70)),
            (datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=utc), "2024-01-02T03:04:05+00:00"),
            (datetime.date(2024, 1, 2), "2024-01-02"),
            (datetime.timedelta(seconds=90), 90.0),
            (pathlib.PurePosixPath("/a/b"), "/a/b"),
            (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
            (Colour.RED, "red"),
            (Level.HIGH, 3),
            ((1, (2,)), [1, [2]]),
            ({3, 1, 2}, [1, 2, 3]),
            (frozenset({"b", 1}), ["b", 1]),
            (range(3), [0, 1, 2]),
            ({1: 2}.keys(), [1]),
            (collections.deque([1]), [1]),
            (collections.OrderedDict(a=1), {"a": 1}),
            (Array([1, [2.5, float("nan")]]), [1, [2.5, "NaN"]]),
            (Array(7), 7),
            (Scalar(), 0.25),
        ]:
            with self.subTest(value=value):
                self.assertEqual(to_plain(value), form)

    def test_keys_become_text(self) -> None:
        keys = {True: 1, None: 2, b"b": 3, 0.5: 4, (1, 2): 5, Colour.RED: 6, 7: 7}
        text = {"true": 1, "null": 2, "b": 3, "0.5": 4, "1,2": 5, "red": 6, "7": 7}
        self.assertEqual(to_plain(keys), text)
        with self.assertRaisesRegex(NotSendable, "two keys both become '1'"):
            to_plain({1: "a", "1": "b"})

    def test_a_refusal_names_the_place(self) -> None:
        with self.assertRaisesRegex(NotSendable, r"result\.model\.layers\[1\]: object has no JSON"):
            to_plain({"model": {"layers": [1, object()]}}, "result")
        with self.assertRaisesRegex(NotSendable, r"value\[0\]: type has no JSON form"):
            to_plain([Array])

    def test_cycles_are_refused_and_shared_parts_are_not(self) -> None:
        knot: Any = {}
        knot["list"] = [1, knot]
        with self.assertRaisesRegex(NotSendable, r"value\.list\[1\]: the value contains itself"):
            to_plain(knot)
        shared = [1]
        self.assertEqual(to_plain([shared, shared]), [[1], [1]])

    def test_nesting_is_limited_and_the_limit_itself_passes(self) -> None:
        self.assertEqual(to_plain(nested(MAX_DEPTH)), nested(MAX_DEPTH))
        for deep in (nested(MAX_DEPTH + 1), nested(5_000), Endless()):
            with self.assertRaisesRegex(NotSendable, "nested deeper than 64 levels"):
                to_plain(deep)

    def test_values_that_would_not_fit_a_frame_are_refused_early(self) -> None:
        doubling: Any = [0]
        for _ in range(40):
            doubling = [doubling, doubling]
        with mock.patch.object(plain, "MAX_VALUES", 1_000):
            with self.assertRaisesRegex(NotSendable, "more than 1000 values"):
                to_plain(doubling)
        with self.assertRaisesRegex(NotSendable, "an array of 1000000000 values"):
            to_plain(Array([], size=10**9))

    def test_a_metric_is_one_number(self) -> None:
        for value, number in [
            (1, 1.0),
            (True, 1.0),
            (decimal.Decimal("0.5"), 0.5),
            (Scalar(), 0.25),
        ]:
            self.assertEqual(to_number(value, "m"), number)
        for value in ("0.5", b"1", None, [1], Array([1])):
            with self.subTest(value=value), self.assertRaisesRegex(NotSendable, r"metrics\.m"):
                to_metrics({"m": value})
        with self.assertRaisesRegex(NotSendable, "metrics must be a dict of numbers, not list"):
            to_metrics([1])
        with self.assertRaisesRegex(NotSendable, r"metrics\.m cannot be read"):
            to_metrics({"m": 10**400})

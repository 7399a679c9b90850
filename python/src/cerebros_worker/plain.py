"""Values of user code as plain JSON values.

str stays str, bytes become str, dates ISO-8601, numpy scalars and arrays numbers and lists
(asked by method, so that numpy is never imported here), sets, tuples and ranges lists, paths
str, keys str, non-finite floats the strings "NaN", "Infinity", "-Infinity". Whatever has no
such form is refused with the place it was found at; cycles, deep nesting and sheer size are
refused too, so that no value of a trainer can take the child down.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import numbers
import os
import uuid
from collections import deque
from collections.abc import KeysView, Mapping, ValuesView
from typing import Any, Callable, Dict, List, Set, Tuple, Union

from .failures import NotSendable
from .frames import MAX_FRAME_BYTES

# Readers of the events refuse to recurse deeper than twice this.
MAX_DEPTH = 64
# No frame can hold more: every value takes a byte and a comma.
MAX_VALUES = MAX_FRAME_BYTES // 2

Number = Union[int, float]

_SETS = (set, frozenset)
_CONTAINERS = (Mapping, list, tuple, deque, range, KeysView, ValuesView, *_SETS)
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


def to_plain(value: Any, place: str = "value") -> Any:
    """`value` in plain form; `place` is what a complaint calls it. Raises `NotSendable`."""
    return _Walk(place).convert(value)


def to_number(value: Any, place: str) -> float:
    """A metric as a float. Raises `NotSendable` when it is not one single number."""
    try:
        if not isinstance(value, (int, float)) and hasattr(value, "item"):
            value = value.item()
        if isinstance(value, (numbers.Real, decimal.Decimal)):
            return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise NotSendable(f"{place} cannot be read as one number: {error}") from error
    raise NotSendable(f"{place} is {kind_of(value)}, not a number")


def to_metrics(metrics: Any, place: str = "metrics") -> Dict[str, float]:
    """A mapping of names to numbers. Raises `NotSendable`."""
    if not isinstance(metrics, Mapping):
        raise NotSendable(f"{place} must be a dict of numbers, not {kind_of(metrics)}")
    return {
        str(name): value if type(value) is float else to_number(value, f"{place}.{name}")
        for name, value in metrics.items()
    }


def plain_float(value: float) -> Union[float, str]:
    """A float as JSON knows it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


_FORMS: Tuple[Tuple[Any, Callable[[Any], Any]], ...] = (
    (
        (bytes, bytearray, memoryview),
        lambda value: bytes(value).decode("utf-8", "backslashreplace"),
    ),
    ((float, decimal.Decimal), lambda value: plain_float(float(value))),
    ((datetime.datetime, datetime.date, datetime.time), lambda value: value.isoformat()),
    (datetime.timedelta, lambda value: value.total_seconds()),
    (uuid.UUID, str),
)


class _Walk:
    """One value's conversion: where it stands, what it is inside of, how much it has seen."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._path: List[Union[str, int]] = []
        self._inside: Set[int] = set()
        self._values = 0

    def convert(self, value: Any) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._refusal(f"more than {MAX_VALUES} values in one message")
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return _text(value)
        if kind is int:
            return self._integer(value)
        if kind is float:
            return plain_float(value)
        if kind is dict or kind is list or kind is tuple:
            return self._container(value)
        return self._other(value)

    def _other(self, value: Any) -> Any:
        """The rarer kinds, subclasses of the plain ones included."""
        if isinstance(value, enum.Enum):
            return self._one_level_down("", value.value)
        if isinstance(value, str):
            return _text(str.__str__(value))
        if isinstance(value, int):
            return self._integer(int(value))
        if isinstance(value, os.PathLike):
            return self._one_level_down("", os.fspath(value))
        if isinstance(value, _CONTAINERS):
            return self._container(value)
        for kinds, form in _FORMS:
            if isinstance(value, kinds):
                return form(value)
        return self._foreign(value)

    def _foreign(self, value: Any) -> Any:
        """Arrays and scalars of numeric libraries, by the methods they all have."""
        size = getattr(value, "size", None)
        if isinstance(size, int) and size > MAX_VALUES:
            raise self._refusal(f"an array of {size} values: save it as an artifact")
        for method in ("tolist", "item"):
            unpack = getattr(value, method, None)
            if callable(unpack) and not isinstance(value, type):
                return self._one_level_down("", unpack())
        raise self._refusal(
            f"{kind_of(value)} has no JSON form: return numbers, text, lists and dicts"
        )

    def _container(self, value: Any) -> Any:
        if id(value) in self._inside:
            raise self._refusal("the value contains itself")
        self._inside.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self._mapping(value)
            return self._sequence(_ordered(value) if isinstance(value, _SETS) else value)
        finally:
            self._inside.discard(id(value))

    def _sequence(self, elements: Any) -> List[Any]:
        try:
            may_stand = self._has_room(len(elements))
        except OverflowError:  # a range may be longer than any list
            raise self._refusal(f"more than {MAX_VALUES} values in one message") from None
        return [
            element if may_stand and _is_plain(element) else self._one_level_down(index, element)
            for index, element in enumerate(elements)
        ]

    def _has_room(self, values: int) -> bool:
        """Whether so many plain values one level down may stand as they are, unconverted.

        Else they go the long way, which finds the one that is too much.
        """
        has_room = len(self._path) < MAX_DEPTH and self._values + values <= MAX_VALUES
        if has_room:
            self._values += values
        return has_room

    def _mapping(self, mapping: Any) -> Dict[str, Any]:
        result: Dict[str, Any] = {}
        may_stand = self._has_room(len(mapping))
        for key, value in mapping.items():
            name = _text(key) if type(key) is str else self._key(key)
            if name in result:
                raise self._refusal(f"two keys both become {name!r} as text")
            if may_stand and _is_plain(value):
                result[name] = value
            else:
                result[name] = self._one_level_down(name, value)
        return result

    def _key(self, key: Any) -> str:
        plain = self._one_level_down("", key)
        if isinstance(plain, str):
            return plain
        if plain is None or isinstance(plain, bool):
            return {None: "null", True: "true", False: "false"}[plain]
        if isinstance(plain, (int, float)):
            return repr(plain)
        return ",".join(str(part) for part in plain)  # a tuple, say

    def _integer(self, value: int) -> Union[int, str]:
        if _INT_MIN <= value <= _INT_MAX:
            return value
        try:
            return str(value)  # readers with 64-bit integers would lose digits
        except ValueError as error:
            raise self._refusal(str(error)) from error

    def _one_level_down(self, step: Union[str, int], value: Any) -> Any:
        if len(self._path) >= MAX_DEPTH:
            raise self._refusal(f"nested deeper than {MAX_DEPTH} levels")
        self._path.append(step)
        plain = self.convert(value)
        self._path.pop()
        return plain

    def _refusal(self, reason: str) -> NotSendable:
        steps = [
            f"[{step}]" if isinstance(step, int) else f".{step}"
            for step in self._path
            if step != ""
        ]
        place = self._root + "".join(steps[:8]) + ("..." if len(steps) > 8 else "")
        return NotSendable(f"{place}: {reason}")


def _is_plain(value: Any) -> bool:
    """Whether a value is what JSON has, as it is: nearly all are, and need no conversion."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    if kind is str:
        is_ascii: bool = value.isascii()
        return is_ascii
    if kind is int:
        return bool(_INT_MIN <= value <= _INT_MAX)
    return kind is bool or value is None


def _text(value: str) -> str:
    if value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _ordered(values: Any) -> List[Any]:
    """A set in an order that does not change from process to process."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def kind_of(value: Any) -> str:
    """The name of a value's type, with its module unless it is built in."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"

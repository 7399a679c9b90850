"""CSV files: one header row, comma separated, numbers everywhere but in the target.

The target is the column named `target` or `label`, else the last one. Numbers are collected
in flat arrays, eight bytes each, so that a table costs about as much memory as its file, and
never more than the limit: the shortest numbers take two bytes in a file.
"""

from __future__ import annotations

import csv
import math
from array import array
from typing import Any, List, Optional, Tuple

from ..failures import InvalidRequest
from . import labels
from .table import Dataset, from_arrays, target_column

# The limit of the other files.
MAX_UNPACKED_BYTES = 1024 * 1024 * 1024
_BYTES_PER_NUMBER = 8


def read(path: str, name: str) -> Dataset:
    """Raises `InvalidRequest` naming row and column of what cannot be used."""
    width, values, target = parse(path, name)
    import numpy

    features = numpy.frombuffer(values, dtype=numpy.float64).reshape(-1, width)
    return from_arrays(name, features, _target_array(target, name))


def parse(path: str, name: str) -> Tuple[int, array[float], List[str]]:
    """Number of feature columns, their values row by row, and the target as it is written."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            return _parse_rows(csv.reader(file, strict=True), name)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidRequest(f"data set {name!r} is not a readable CSV file: {error}") from None


def _parse_rows(rows: Any, name: str) -> Tuple[int, array[float], List[str]]:
    header = [cell.strip() for cell in next(rows, [])]
    _check_header(header, name)
    at = target_column(header)
    values: array[float] = array("d")
    target: List[str] = []
    most = MAX_UNPACKED_BYTES // (_BYTES_PER_NUMBER * len(header))
    for row in rows:
        if not row:
            continue
        place = f"data set {name!r}, row {rows.line_num}"
        if len(row) != len(header):
            raise InvalidRequest(f"{place}: {len(row)} cells, the header has {len(header)}")
        label = row[at].strip()
        if not label:
            raise InvalidRequest(f"{place}, column {header[at]!r}: the target is empty")
        labels.check_length(len(label), f"{place}, column {header[at]!r}")
        if len(target) == most:
            raise InvalidRequest(
                f"{place}: with more than {most} rows of {len(header)} columns it takes more than "
                f"{MAX_UNPACKED_BYTES} bytes (1 GiB), which is the limit"
            )
        target.append(label)
        del row[at]
        values.extend(_numbers(row, header[:at] + header[at + 1 :], place))
    if not target:
        raise InvalidRequest(f"data set {name!r} has a header and no rows")
    return len(header) - 1, values, target


def _check_header(header: List[str], name: str) -> None:
    if len(header) < 2:
        raise InvalidRequest(
            f"data set {name!r}: a header row with at least one feature and a target is needed"
        )
    if all(_number(cell) is not None for cell in header):
        raise InvalidRequest(f"data set {name!r}: row 1 holds numbers; a header row is needed")


def _numbers(cells: List[str], columns: List[str], place: str) -> List[float]:
    numbers = []
    for cell, column in zip(cells, columns):
        number = _number(cell)
        if number is None:
            raise InvalidRequest(
                f"{place}, column {column!r}: {cell[:60]!r} is not a finite number; "
                "features must be numeric and complete"
            )
        numbers.append(number)
    return numbers


def _number(cell: str) -> Optional[float]:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _target_array(target: List[str], name: str) -> Any:
    """Numbers if every cell is one, else text."""
    import numpy

    try:
        return numpy.array([float(cell) for cell in target])
    except ValueError:
        return labels.as_array(target, name)

"""Parquet files: one row per example, numbers everywhere but in the target.

The target is the column named `target` or `label`, else the last one, as in a CSV file. Read
one row group at a time, so that a table costs little more memory than its numbers.
"""

from __future__ import annotations

import sys
from typing import Any, List, Tuple

from ..failures import DependencyMissing, InvalidRequest
from .table import Dataset, from_arrays, target_column

# What the footer promises is reserved before anything is read; the limit of NPZ files.
MAX_UNPACKED_BYTES = 1024 * 1024 * 1024


def read(path: str, name: str) -> Dataset:
    """Raises `InvalidRequest` naming row and column of what cannot be used, and
    `DependencyMissing` without pyarrow."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise DependencyMissing(
            f"data set {name!r} is a Parquet file, which pyarrow reads and {sys.executable} cannot "
            f"import ({error}): install pyarrow into that environment, or give a .csv or .npz file"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            return from_arrays(name, *_read_columns(file, name))
    except (ArrowException, OSError) as error:
        raise InvalidRequest(
            f"data set {name!r} is not a readable Parquet file: {error}"
        ) from None


def _read_columns(file: Any, name: str) -> Tuple[Any, Any]:
    import numpy

    columns: List[str] = list(file.schema_arrow.names)
    rows = file.metadata.num_rows
    _check_shape(columns, rows, name)
    at = target_column(columns)
    features = numpy.empty((rows, len(columns) - 1), numpy.float64)
    targets: List[Any] = []
    begin = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        end = begin + table.num_rows
        others = [index for index in range(len(columns)) if index != at]
        for place, index in enumerate(others):
            features[begin:end, place] = _numbers(table.column(index), columns[index], begin, name)
        targets.append(_target(table.column(at), columns[at], begin, name))
        begin = end
    return features, numpy.concatenate(targets)


def _check_shape(columns: List[str], rows: int, name: str) -> None:
    if len(columns) < 2 or rows == 0:
        raise InvalidRequest(
            f"data set {name!r} has {rows} rows of {len(columns)} columns; "
            "at least one row, one feature and a target are needed"
        )
    unpacked = rows * len(columns) * 8
    if unpacked > MAX_UNPACKED_BYTES:
        raise InvalidRequest(
            f"data set {name!r} unpacks to {unpacked} bytes; "
            f"the limit is {MAX_UNPACKED_BYTES} (1 GiB)"
        )


def _numbers(column: Any, title: str, begin: int, name: str) -> Any:
    import numpy
    from pyarrow import types

    is_number = (
        types.is_integer(column.type) or types.is_floating(column.type)
    ) or types.is_boolean(column.type)
    if not is_number:
        raise InvalidRequest(
            f"data set {name!r}, column {title!r}: the type {column.type} is not numeric; "
            "features must be numeric and complete"
        )
    # What is missing becomes NaN, and is found with it.
    values = column.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    wrong = numpy.flatnonzero(~numpy.isfinite(values))
    if len(wrong):
        raise InvalidRequest(
            f"data set {name!r}, row {begin + int(wrong[0]) + 1}, column {title!r}: "
            "missing, NaN or infinite; features must be numeric and complete"
        )
    return values


def _target(column: Any, title: str, begin: int, name: str) -> Any:
    from pyarrow import types

    if column.null_count:
        row = begin + column.is_null().to_pylist().index(True) + 1
        raise InvalidRequest(
            f"data set {name!r}, row {row}, column {title!r}: the target is empty"
        )
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_string(kind) or types.is_large_string(kind):
        return column.cast("string").to_numpy(zero_copy_only=False).astype(str)
    if types.is_boolean(kind):
        return column.cast("int64").to_numpy(zero_copy_only=False)
    if types.is_integer(kind) or types.is_floating(kind):
        return column.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    raise InvalidRequest(
        f"data set {name!r}, column {title!r}: the type {column.type} is no target; "
        "numbers or text are needed"
    )

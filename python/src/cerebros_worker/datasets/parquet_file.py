"""Parquet files: one row per example, numbers everywhere but in the target.

The target is the column named `target` or `label`, else the last one, as in a CSV file. Read
one row group at a time, so that a table costs little more memory than its numbers; what it is
made of, and how much of it there is, is looked at before. Text is read as a dictionary: one long
label that stands in many rows takes its room once.
"""

from __future__ import annotations

import sys
from typing import Any, List, Tuple

from ..failures import ClassifiedError, DependencyMissing, InvalidRequest
from . import labels
from .table import Dataset, from_arrays, target_column

# What the footer promises is reserved before anything is read; the limit of NPZ files.
MAX_UNPACKED_BYTES = 1024 * 1024 * 1024


def read(path: str, name: str) -> Dataset:
    """Raises `InvalidRequest` naming row and column of what cannot be used, and
    `DependencyMissing` without pyarrow."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DependencyMissing(
            f"data set {name!r} is a Parquet file, which pyarrow reads and {sys.executable} cannot "
            f"import ({error}): install pyarrow into that environment, or give a .csv or .npz file"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            at, has_text = _look(file, name)
            title = file.schema_arrow.names[at]
        with parquet.ParquetFile(path, read_dictionary=[title] if has_text else None) as file:
            return from_arrays(name, *_read_columns(file, at, name))
    except (ClassifiedError, MemoryError):
        raise  # what does not fit was held against the limits: the process has too little memory
    except Exception as error:
        # What a broken file promises is wrong in as many ways as it has parts.
        reason = str(error) or type(error).__name__
        raise InvalidRequest(
            f"data set {name!r} is not a readable Parquet file: {reason[:500]}"
        ) from None


def _look(file: Any, name: str) -> Tuple[int, bool]:
    """Which column is the target, and whether that is text; nothing is unpacked for it."""
    from pyarrow import types

    columns: List[str] = list(file.schema_arrow.names)
    _check_shape(columns, file.metadata, name)
    at = target_column(columns)
    for index, (title, kind) in enumerate(zip(columns, file.schema_arrow.types)):
        if index == at:
            _check_target(kind, title, name)
        elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
            raise InvalidRequest(
                f"data set {name!r}, column {title!r}: the type {kind} is not numeric; "
                "features must be numeric and complete"
            )
    return at, _is_text(file.schema_arrow.types[at])


def _read_columns(file: Any, at: int, name: str) -> Tuple[Any, Any]:
    import numpy

    columns: List[str] = list(file.schema_arrow.names)
    rows = file.metadata.num_rows
    features = numpy.empty((rows, len(columns) - 1), numpy.float64)
    others = [index for index in range(len(columns)) if index != at]
    targets: List[Any] = []
    begin = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        if table.num_rows == 0:
            continue  # an empty batch was written; that there is any row was looked at
        end = begin + table.num_rows
        for place, index in enumerate(others):
            features[begin:end, place] = _numbers(table.column(index), columns[index], begin, name)
        targets.append(_target(table.column(at), columns[at], begin, name))
        begin = end
    if targets[0].dtype.kind == "U":
        labels.check_width(rows, max(part.dtype.itemsize // 4 for part in targets), name)
    return features, numpy.concatenate(targets)


def _check_shape(columns: List[str], metadata: Any, name: str) -> None:
    rows = metadata.num_rows
    if len(columns) < 2 or rows < 1 or metadata.num_row_groups < 1:
        raise InvalidRequest(
            f"data set {name!r} has {rows} rows of {len(columns)} columns; "
            "at least one row, one feature and a target are needed"
        )
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    unpacked = max(rows * len(columns) * 8, *(group.total_byte_size for group in groups))
    if unpacked > MAX_UNPACKED_BYTES:
        raise InvalidRequest(
            f"data set {name!r} unpacks to {unpacked} bytes; "
            f"the limit is {MAX_UNPACKED_BYTES} (1 GiB)"
        )


def _numbers(column: Any, title: str, begin: int, name: str) -> Any:
    import numpy

    # What is missing becomes NaN, and is found with it.
    values = column.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    wrong = numpy.flatnonzero(~numpy.isfinite(values))
    if len(wrong):
        raise InvalidRequest(
            f"data set {name!r}, row {begin + int(wrong[0]) + 1}, column {title!r}: "
            "missing, NaN or infinite; features must be numeric and complete"
        )
    return values


def _check_target(kind: Any, title: str, name: str) -> None:
    from pyarrow import types

    plain = kind.value_type if types.is_dictionary(kind) else kind
    is_number = types.is_integer(plain) or types.is_floating(plain) or types.is_boolean(plain)
    if not (is_number or _is_text(kind)):
        raise InvalidRequest(
            f"data set {name!r}, column {title!r}: the type {kind} is no target; "
            "numbers or text are needed"
        )


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    plain = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(plain) or types.is_large_string(plain))


def _target(column: Any, title: str, begin: int, name: str) -> Any:
    from pyarrow import types

    if column.null_count:
        row = begin + column.is_null().to_pylist().index(True) + 1
        raise InvalidRequest(f"data set {name!r}, row {row}, column {title!r}: the target is empty")
    if _is_text(column.type):
        return _text(column, title, begin, name)
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_boolean(kind):
        return column.cast("int64").to_numpy(zero_copy_only=False)
    return column.cast("float64", safe=False).to_numpy(zero_copy_only=False)


def _text(column: Any, title: str, begin: int, name: str) -> Any:
    """Labels by their numbers in a dictionary: only what is short is written out."""
    import numpy
    from pyarrow import compute, types

    parts: List[Any] = []
    for chunk in column.chunks:
        coded = chunk if types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        lengths = compute.utf8_length(coded.dictionary).to_numpy(zero_copy_only=False)
        numbers = coded.indices.to_numpy(zero_copy_only=False)
        longest = int(lengths[numbers].argmax())
        row = begin + sum(map(len, parts)) + longest + 1
        place = f"data set {name!r}, row {row}, column {title!r}"
        labels.check_length(int(lengths[numbers[longest]]), place)
        # One that stands in no row may still be long.
        used = numpy.unique(numbers)
        words = [coded.dictionary[int(number)].as_py() for number in used]
        labels.check_width(len(numbers), max(map(len, words)), name)
        parts.append(numpy.array(words)[numpy.searchsorted(used, numbers)])
    return numpy.concatenate(parts)

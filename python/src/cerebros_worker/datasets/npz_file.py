"""NPZ files: two arrays, `X` (rows of numbers) and `y` (one target per row).

Never unpickled: an object array is refused, because loading one would run code of whoever
made the file.
"""

from __future__ import annotations

import zipfile
from typing import Any

from ..failures import InvalidRequest
from .table import Dataset, from_arrays

# A small file may unpack to a large one; the same reason as the limit of the file itself.
MAX_UNPACKED_BYTES = 1024 * 1024 * 1024


def read(path: str, name: str) -> Dataset:
    """Raises `InvalidRequest` when the arrays are missing or no table."""
    import numpy

    try:
        _check_unpacked_size(path, name)
        with numpy.load(path, allow_pickle=False) as arrays:
            missing = [key for key in ("X", "y") if key not in arrays]
            if missing:
                raise InvalidRequest(
                    f"data set {name!r}: no array {' and '.join(missing)}; "
                    f"the file holds {', '.join(arrays.files[:10]) or 'none'}"
                )
            features, target = arrays["X"], arrays["y"]
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, OSError) as error:
        raise InvalidRequest(f"data set {name!r} is not a readable NPZ file: {error}") from None
    return from_arrays(name, _table(features, name), _column(target, name))


def _check_unpacked_size(path: str, name: str) -> None:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise InvalidRequest(
            f"data set {name!r} unpacks to {unpacked} bytes; "
            f"the limit is {MAX_UNPACKED_BYTES} (1 GiB)"
        )


def _table(features: Any, name: str) -> Any:
    import numpy

    if features.ndim == 0 or len(features) == 0 or features.dtype.kind not in "biuf":
        raise InvalidRequest(
            f"data set {name!r}: X has shape {features.shape} and type {features.dtype}; "
            "rows of real numbers are needed"
        )
    # Images and series become rows of numbers.
    table = features.reshape(len(features), -1).astype(numpy.float64)
    if not numpy.isfinite(table).all():
        row, column = numpy.argwhere(~numpy.isfinite(table))[0]
        raise InvalidRequest(f"data set {name!r}: X[{row}, {column}] is NaN or infinite")
    return table


def _column(target: Any, name: str) -> Any:
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    if target.ndim != 1 or target.dtype.kind not in "biufU":
        raise InvalidRequest(
            f"data set {name!r}: y has shape {target.shape} and type {target.dtype}; "
            "one number or text per row is needed"
        )
    return target.astype("int64") if target.dtype.kind == "b" else target

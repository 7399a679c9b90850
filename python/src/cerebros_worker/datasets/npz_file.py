"""NPZ files: two arrays, `X` (rows of numbers) and `y` (one target per row).

Never unpickled: an object array is refused, because loading one would run code of whoever
made the file. Nothing is believed either: how much an array takes is held against the limits,
and against what can be in the archive, before room is made for it.
"""

from __future__ import annotations

import math
import os
import zipfile
from typing import Any, Tuple

from ..failures import ClassifiedError, InvalidRequest
from . import labels
from .table import Dataset, from_arrays

# A small file may unpack to a large one; the same reason as the limit of the file itself.
MAX_UNPACKED_BYTES = 1024 * 1024 * 1024
_BYTES_PER_NUMBER = 8
# How numpy packs, and the most that packing saves: one byte for so many.
_METHODS = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
_BLOCK_BYTES = 1024 * 1024


def read(path: str, name: str) -> Dataset:
    """Raises `InvalidRequest` when the arrays are missing or no table."""
    import numpy

    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, name)
            features = _array(archive, "X", os.path.getsize(path), name)
            target = _array(archive, "y", os.path.getsize(path), name)
        with numpy.errstate(all="ignore"):
            return from_arrays(name, _table(features, name), _column(target, name))
    except (ClassifiedError, MemoryError):
        raise  # what does not fit was held against the limits: the process has too little memory
    except Exception as error:
        # A broken archive fails in as many ways as it has parts.
        reason = str(error) or type(error).__name__
        raise InvalidRequest(
            f"data set {name!r} is not a readable NPZ file: {reason[:500]}"
        ) from None


def _check_members(archive: zipfile.ZipFile, name: str) -> None:
    there = [member[:-4] for member in archive.namelist() if member.endswith(".npy")]
    missing = [key for key in ("X", "y") if key not in there]
    if missing:
        raise InvalidRequest(
            f"data set {name!r}: no array {' and '.join(missing)}; "
            f"the file holds {', '.join(there[:10]) or 'none'}"
        )


def _array(archive: zipfile.ZipFile, key: str, file_bytes: int, name: str) -> Any:
    import numpy

    member = archive.getinfo(f"{key}.npy")
    _check_size(member.file_size, key, name)
    saves = _METHODS.get(member.compress_type)
    if saves is None:
        raise InvalidRequest(
            f"data set {name!r}: array {key} is packed in a way numpy never does "
            f"(method {member.compress_type}): write the file with numpy.savez_compressed"
        )
    packed = member.compress_size
    if packed > file_bytes or member.file_size > (packed + 1) * saves:
        raise ValueError(f"array {key} cannot have {member.file_size} bytes")
    with archive.open(member) as file:
        shape, is_fortran, dtype = _header(file)
        if dtype.hasobject:
            raise ValueError(f"array {key} holds Python objects, which are never loaded")
        count = math.prod(shape)
        if dtype.kind in "biuf":
            _check_size(count * _BYTES_PER_NUMBER, key, name)
        size = count * dtype.itemsize
        if min(shape, default=0) < 0 or file.tell() + size != member.file_size:
            raise ValueError(f"array {key} has not the {size} bytes its head promises")
        raw = numpy.empty(size, numpy.uint8)
        _fill(raw.data, file, key)
    return raw.view(dtype).reshape(shape, order="F" if is_fortran else "C")


def _check_size(unpacked: int, key: str, name: str) -> None:
    if unpacked > MAX_UNPACKED_BYTES:
        raise InvalidRequest(
            f"data set {name!r}: array {key} unpacks to {unpacked} bytes; "
            f"the limit is {MAX_UNPACKED_BYTES} (1 GiB)"
        )


def _header(file: Any) -> Tuple[Tuple[int, ...], bool, Any]:
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the format is not for rows of numbers or text")


def _fill(room: memoryview, file: Any, key: str) -> None:
    at = 0
    while at < len(room):
        read = file.readinto(room[at : at + _BLOCK_BYTES])
        if not read:
            raise EOFError(f"array {key} ends in the middle")
        at += read
    file.read(1)  # at the end the sum is checked


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
    if target.dtype.kind == "U":
        return labels.checked(target, name)
    return target.astype("int64") if target.dtype.kind == "b" else target

"""Files whose content is fixed: what is read is what the run began with, or nothing is.

The worker found the file and hashed it before the run was announced. Trials of one run that
read different tables could not be compared, and a result kept for later would be a lie.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Tuple

from ..failures import InvalidRequest
from .table import Dataset

_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Located:
    """A file the worker has found: its name within the data sets, its place, its SHA-256."""

    name: str
    path: str
    sha256: str

    @classmethod
    def of(cls, told: Optional[Mapping[str, Any]]) -> Optional[Located]:
        """As the call has it; None when the data set is no file."""
        if not told:
            return None
        return cls(str(told["name"]), str(told["path"]), str(told["sha256"]))


def read_verified(located: Located, reader: Callable[[str, str], Dataset]) -> Dataset:
    """Reads the file if its content is the one that was found. Raises `InvalidRequest`."""
    try:
        before = _version(located.path)
        if _sha256(located.path) != located.sha256:
            raise _changed(located)
        dataset = reader(located.path, located.name)
        # Between the hash and the reader somebody may have written into it.
        if _version(located.path) != before:
            raise _changed(located)
    except FileNotFoundError:
        raise InvalidRequest(
            f"data set {located.name!r} was there when the run began and is gone: "
            "put it back and ask for the run again"
        ) from None
    return dataset


def _changed(located: Located) -> InvalidRequest:
    return InvalidRequest(
        f"data set {located.name!r} has changed since the run began (SHA-256 is not "
        f"{located.sha256}): trials on different data cannot be compared; ask for the run again"
    )


def _version(path: str) -> Tuple[int, int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size, status.st_ino


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()

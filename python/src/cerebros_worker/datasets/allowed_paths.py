"""Names of data files stay inside one directory, links followed.

A request comes from anyone who may publish; the directory is what the operator allowed.
"""

from __future__ import annotations

import os
import stat
from typing import Hashable, List, Tuple

from ..failures import InvalidRequest

# The tables are held in memory, several times over while training.
MAX_FILE_BYTES = 512 * 1024 * 1024
# A listing is for an error message, not an inventory.
MAX_LISTED = 50
MAX_VISITED = 2_000


def resolve(directory: str, name: str) -> Tuple[str, str, Hashable]:
    """The real path, its name within the directory, and a version that changes with the file.

    Raises `InvalidRequest` when the name leads outside or to something that is no table, and
    `FileNotFoundError`.
    """
    if "\0" in name:
        raise InvalidRequest("a data set name cannot contain a zero byte")
    root = os.path.realpath(directory)
    path = os.path.realpath(os.path.join(root, name))
    if os.path.commonpath([root, path]) != root:
        raise InvalidRequest(
            f"data set {name[:200]!r} is not inside the data set directory: "
            "only files of that directory, links followed, can be used"
        )
    try:
        status = os.stat(path)
    except OSError:
        raise FileNotFoundError(path) from None
    if not stat.S_ISREG(status.st_mode):
        raise InvalidRequest(f"data set {name!r} is not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise InvalidRequest(
            f"data set {name!r} has {status.st_size} bytes; the limit is {MAX_FILE_BYTES} (512 MiB)"
        )
    return path, os.path.relpath(path, root), (status.st_mtime_ns, status.st_size, status.st_ino)


def list_files(directory: str, endings: Tuple[str, ...]) -> List[str]:
    """Names of data files below the directory, sorted, bounded; links to directories are not
    followed here."""
    found: List[str] = []
    visited = 0
    for place, folders, files in os.walk(directory):
        folders.sort()
        for file in sorted(files):
            visited += 1
            if visited > MAX_VISITED or len(found) >= MAX_LISTED:
                return found
            if file.lower().endswith(endings):
                found.append(os.path.relpath(os.path.join(place, file), directory))
    return found

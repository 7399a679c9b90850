"""Files a trial leaves behind: checked names, whole files, a checksum.

A file appears under `<workdir>/artifacts/<name>` complete or not at all. The worker moves it
to the object store from there; this module knows nothing of that.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tempfile
from typing import Any, BinaryIO, Dict, Tuple, Union

Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]

# A model of the trainers this runtime is meant for is far below; a data dump is a mistake.
MAX_ARTIFACT_BYTES = 1024 * 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CHUNK_BYTES = 1024 * 1024
# A table of our own: the system's differs from machine to machine.
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".zip": "application/zip",
}


def store(workdir: str, name: str, source: Source) -> Dict[str, Any]:
    """Puts one file in place and describes it: name, path, bytes, sha256, media_type.

    Raises `ValueError` for a name or size that is not allowed, `OSError` for the rest.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not name.strip("."):
        raise ValueError(
            f"artifact name {str(name)[:140]!r} is not allowed: "
            "1 to 128 of the characters A-Z a-z 0-9 . _ -, and not dots alone"
        )
    directory = os.path.join(workdir, "artifacts")
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, name)
    with _open_source(source) as content:
        size, digest = _write_whole(directory, path, content)
    extension = os.path.splitext(name)[1].lower()
    return {
        "name": name,
        "path": path,
        "bytes": size,
        "sha256": digest,
        "media_type": _MEDIA_TYPES.get(extension, "application/octet-stream"),
    }


def _open_source(source: Source) -> BinaryIO:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    # Opening a directory or a named pipe would fail in a confusing way, or wait for ever.
    if not stat.S_ISREG(os.stat(source).st_mode):
        raise ValueError(f"artifact source {os.fspath(source)!r} is not a file")
    return open(source, "rb")


def _write_whole(directory: str, path: str, content: BinaryIO) -> Tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    handle, temporary = tempfile.mkstemp(prefix=".part-", dir=directory)
    try:
        with os.fdopen(handle, "wb") as target:
            while chunk := content.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_ARTIFACT_BYTES:
                    raise ValueError(f"the artifact is larger than {MAX_ARTIFACT_BYTES} bytes")
                digest.update(chunk)
                target.write(chunk)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return size, digest.hexdigest()

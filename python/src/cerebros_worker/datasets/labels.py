"""Text in a target: short enough to be a label, and not more of it than fits into memory.

numpy keeps text in cells of one width, that of the longest: one label of a whole page would make
every row a page long.
"""

from __future__ import annotations

from typing import Any, List

from ..failures import InvalidRequest

# A label names a class; whatever is longer is a text.
MAX_LABEL_CHARS = 1_000
# The same as of the other arrays of a table.
MAX_LABEL_BYTES = 1024 * 1024 * 1024
_BYTES_PER_CHAR = 4
_LAST_CHARACTER = 0x10FFFF


def check_length(length: int, place: str) -> None:
    """Raises `InvalidRequest` when a label of this length is none; `place` says where it is."""
    if length > MAX_LABEL_CHARS:
        raise InvalidRequest(
            f"{place}: the target has {length} characters; labels have at most {MAX_LABEL_CHARS}"
        )


def check_width(rows: int, longest: int, name: str) -> None:
    """Raises `InvalidRequest` when so many labels of that width are too much."""
    width = rows * longest * _BYTES_PER_CHAR
    if width > MAX_LABEL_BYTES:
        raise InvalidRequest(
            f"data set {name!r}: {rows} labels of up to {longest} characters take {width} bytes; "
            f"the limit is {MAX_LABEL_BYTES} (1 GiB): shorten the longest"
        )


def as_array(labels: List[str], name: str) -> Any:
    """Labels whose lengths were checked, as numpy has them."""
    import numpy

    check_width(len(labels), max(map(len, labels)), name)
    return numpy.array(labels)


def checked(target: Any, name: str) -> Any:
    """The same labels, of an array of text that somebody else made."""
    import numpy

    if target.dtype.itemsize == 0 or len(target) == 0:
        raise InvalidRequest(f"data set {name!r}: y holds no text")
    lengths = numpy.char.str_len(target)
    longest = int(lengths.max())
    check_length(longest, f"data set {name!r}, y[{int(lengths.argmax())}]")
    narrow = target.astype(f"=U{max(longest, 1)}")
    wrong = numpy.flatnonzero(narrow.view(numpy.uint32) > _LAST_CHARACTER)
    if len(wrong):
        row = int(wrong[0]) // max(longest, 1)
        raise InvalidRequest(f"data set {name!r}, y[{row}]: it holds what is no character")
    return narrow

"""A loaded data set: features, target, and the split every trial of every run shares.

The split depends on the data set's name alone, never on a trial's seed: scores of different
trials are comparable, and the test part was never seen by the search.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, List

from ..failures import InvalidRequest

CLASSIFICATION = "classification"
REGRESSION = "regression"

# Whole numbers with at most this many values are labels; digits and letters fit.
MAX_INTEGER_CLASSES = 32
# More classes than this is an identifier column taken for a target.
MAX_CLASSES = 1_000

# Titles of the column to predict, in order; without one of them it is the last.
TARGET_NAMES = ("target", "label")

VALIDATION_SHARE = 0.2
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts."""

    train: Any
    validation: Any
    test: Any


@dataclass(frozen=True)
class Dataset:
    """Rows of numbers (`features`, two-dimensional float64) and what to predict (`target`)."""

    name: str
    task: str
    features: Any
    target: Any

    @cached_property
    def split(self) -> Split:
        """60 / 20 / 20, stratified for classification. Raises `InvalidRequest` if too small."""
        import numpy

        shuffle = numpy.random.RandomState(zlib.crc32(self.name.encode("utf-8")))
        if self.task == REGRESSION:
            groups = [shuffle.permutation(len(self.target))]
        else:
            groups = [
                shuffle.permutation(numpy.flatnonzero(self.target == label))
                for label in numpy.unique(self.target)
            ]
        parts: List[List[Any]] = [[], [], []]
        for rows in groups:
            for part, chosen in zip(parts, self._portions(rows)):
                part.append(chosen)
        return Split(*(numpy.sort(numpy.concatenate(part)) for part in parts))

    def _portions(self, rows: Any) -> List[Any]:
        if len(rows) < 3:
            group = (
                f"class {self.target[rows[0]]!s}" if self.task == CLASSIFICATION else "the table"
            )
            raise InvalidRequest(
                f"data set {self.name!r}: {group} has {len(rows)} rows; at least 3 are needed "
                "to train, validate and test"
            )
        validation = max(1, round(len(rows) * VALIDATION_SHARE))
        test = max(1, round(len(rows) * TEST_SHARE))
        return [rows[validation + test :], rows[:validation], rows[validation : validation + test]]


def target_column(titles: List[str]) -> int:
    """Which column is to be predicted."""
    lowered = [title.lower() for title in titles]
    for name in TARGET_NAMES:
        if name in lowered:
            return lowered.index(name)
    return len(titles) - 1


def from_arrays(name: str, features: Any, target: Any) -> Dataset:
    """A data set of two arrays, its task decided by the target. Raises `InvalidRequest`."""
    import numpy

    if features.ndim != 2 or features.shape[1] == 0 or len(features) != len(target):
        raise InvalidRequest(
            f"data set {name!r}: features of shape {features.shape} and a target of "
            f"{len(target)} rows do not make a table"
        )
    if numpy.issubdtype(target.dtype, numpy.number):
        if not numpy.isfinite(target).all():
            raise InvalidRequest(f"data set {name!r}: the target contains NaN or infinity")
        if not _is_label(target):
            return Dataset(name, REGRESSION, features, target.astype(numpy.float64))
        target = target.astype(numpy.int64)
    classes = len(numpy.unique(target))
    if not 2 <= classes <= MAX_CLASSES:
        raise InvalidRequest(
            f"data set {name!r}: the target has {classes} classes; 2 to {MAX_CLASSES} are possible"
        )
    return Dataset(name, CLASSIFICATION, features, target)


def _is_label(target: Any) -> bool:
    """Few whole numbers, each used at least twice on average."""
    import numpy

    if not (target == numpy.floor(target)).all():
        return False
    return len(numpy.unique(target)) <= min(MAX_INTEGER_CLASSES, len(target) // 2)

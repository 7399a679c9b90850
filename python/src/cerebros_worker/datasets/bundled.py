"""The data sets scikit-learn brings along; they load without a network."""

from __future__ import annotations

import sys
from typing import Any

from ..failures import DependencyMissing
from .table import Dataset, from_arrays

NAMES = ("digits", "iris", "wine", "breast_cancer", "diabetes")


def read(name: str) -> Dataset:
    """Loads one of `NAMES`. Raises `DependencyMissing` without scikit-learn."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DependencyMissing(
            f"data set {name!r} comes with scikit-learn, which {sys.executable} cannot import "
            f"({error}): install scikit-learn into that environment"
        ) from error
    loader: Any = getattr(datasets, f"load_{name}")
    features, target = loader(return_X_y=True)
    return from_arrays(name, features, target)

"""Which data sets there are, and the few that are in memory."""

from __future__ import annotations

import importlib.util
import os
from collections import OrderedDict
from typing import Callable, Dict, Hashable, List, Optional

from ..failures import InvalidRequest
from . import allowed_paths, bundled, csv_file, npz_file, parquet_file
from .content import Located, read_verified
from .table import Dataset

# A worker serves a few runs at a time; a data set may weigh hundreds of megabytes.
MAX_LOADED = 4

_READERS: Dict[str, Callable[[str, str], Dataset]] = {
    ".csv": csv_file.read,
    ".npz": npz_file.read,
    ".parquet": parquet_file.read,
}


class DataSets:
    """Loads by name, keeps the last few. Files are read again when they have changed."""

    def __init__(self, directory: Optional[str]) -> None:
        self._directory = directory
        self._loaded: OrderedDict[Hashable, Dataset] = OrderedDict()

    def names(self) -> List[str]:
        """What can be loaded: the bundled sets, then files of the directory, bounded."""
        there = list(bundled.NAMES) if importlib.util.find_spec("sklearn") else []
        if self._directory:
            there += allowed_paths.list_files(self._directory, tuple(_READERS))
        return there

    def load(self, name: str) -> Dataset:
        """The data set. Raises `InvalidRequest` or `DependencyMissing`."""
        if name in bundled.NAMES:
            return self._keep(("bundled", name), lambda: bundled.read(name))
        return self._load_file(name, self._reader(name))

    def load_located(self, located: Located) -> Dataset:
        """The file the worker has found, if it still is what it was. Raises as `load` does."""
        reader = self._reader(located.name)
        return self._keep(located, lambda: read_verified(located, reader))

    def _reader(self, name: str) -> Callable[[str, str], Dataset]:
        reader = _READERS.get(os.path.splitext(name)[1].lower())
        if reader is None:
            raise InvalidRequest(
                f"unknown data set {name[:200]!r}: there is {self._there()}; "
                f"files end in {' or '.join(_READERS)}"
            )
        return reader

    def _load_file(self, name: str, reader: Callable[[str, str], Dataset]) -> Dataset:
        if not self._directory:
            raise InvalidRequest(
                f"data set {name!r} is a file, and no data set directory is configured: "
                f"there is {self._there()}"
            )
        try:
            path, short_name, version = allowed_paths.resolve(self._directory, name)
        except FileNotFoundError:
            raise InvalidRequest(
                f"there is no data set {name!r}: there is {self._there()}"
            ) from None
        return self._keep((path, version), lambda: reader(path, short_name))

    def _keep(self, key: Hashable, read: Callable[[], Dataset]) -> Dataset:
        dataset = self._loaded.get(key)
        if dataset is None:
            dataset = read()
            self._loaded[key] = dataset
            if len(self._loaded) > MAX_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return dataset

    def _there(self) -> str:
        return ", ".join(self.names()) or "none"

"""Finds the function a call names: a trainer of the registry or `module:function`.

Which entries a request may name is decided by the worker; here everything that can be
imported is found. A name that does not exist is the request's fault (`validation`); a
package missing inside a module that does exist is the environment's (`dependency`).
"""

from __future__ import annotations

import gc
import importlib
import re
import sys
from types import ModuleType
from typing import Any, Callable, Dict, Optional

from .failures import DependencyMissing, InvalidRequest

# Each is a module of `trainers` with a function `train(params, trial)`.
TRAINERS = ("mlp", "noop")

_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)

Function = Callable[..., Any]


class Entries:
    """Functions by entry name, each imported once."""

    def __init__(self) -> None:
        self._found: Dict[str, Function] = {}

    def find(self, entry: str) -> Function:
        """The function. Raises `InvalidRequest`, `DependencyMissing`, or what its module raises."""
        function = self._found.get(entry)
        if function is None:
            function = _load(entry)
            self._found[entry] = function
            # What an import leaves behind stays: taking it out of the collector's sight keeps
            # the collection after every call short.
            gc.collect()
            gc.freeze()
        return function

    @staticmethod
    def source(entry: Any) -> Optional[str]:
        """The file of the module an entry is in; None for a trainer, and what has no file."""
        if not isinstance(entry, str) or entry in TRAINERS:
            return None
        path = getattr(sys.modules.get(entry.partition(":")[0]), "__file__", None)
        return path if isinstance(path, str) else None


def _load(entry: Any) -> Function:
    if entry in TRAINERS:
        return _function(_import(f"{__package__}.trainers.{entry}", entry), "train", entry)
    if not isinstance(entry, str) or not _ENTRY.fullmatch(entry):
        raise InvalidRequest(
            f"entry {str(entry)[:200]!r} is neither a trainer ({', '.join(TRAINERS)}) "
            "nor of the form module:function"
        )
    module_name, name = entry.split(":")
    return _function(_import(module_name, entry), name, entry)


def _import(module_name: str, entry: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(missing + "."):
            raise InvalidRequest(
                f"entry {entry!r}: there is no module {missing!r} on the Python path"
            ) from None
        raise DependencyMissing(
            f"entry {entry!r} needs the package {missing!r}, which {sys.executable} "
            "does not have: install it into that environment"
        ) from error


def _function(module: ModuleType, name: str, entry: str) -> Function:
    function = getattr(module, name, None)
    if callable(function):
        return function  # type: ignore[no-any-return]
    known = [key for key, value in vars(module).items() if key[0] != "_" and callable(value)]
    raise InvalidRequest(
        f"entry {entry!r}: module {module.__name__!r} has no function {name!r}; "
        f"it has {', '.join(known[:10]) or 'none'}"
    )

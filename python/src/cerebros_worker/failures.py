"""Failures: what went wrong, in the closed set of classes the event contract knows.

Code that knows its class raises one of the exceptions below; whatever else a trainer raises
is `user_code`. `describe` turns any exception into the bounded record a result carries. It
never raises itself, whatever the exception's own methods do.
"""

from __future__ import annotations

import os
import traceback
from typing import Any, Dict, Optional

# A message is read in a table and a log line; a traceback on one screen.
MAX_MESSAGE_CHARS = 2_000
MAX_TRACEBACK_BYTES = 8 * 1024

_RUNTIME_DIR = os.path.dirname(os.path.abspath(__file__))

Failure = Dict[str, Any]


class ClassifiedError(Exception):
    """An error whose failure class is known where it is raised."""

    failure_class = "user_code"
    retryable = False


class InvalidRequest(ClassifiedError):
    """The request can never work as it is: wrong parameter, unknown data set, no such entry."""

    failure_class = "validation"


class DependencyMissing(ClassifiedError):
    """Something the trainer stands on is not there: a package, a directory."""

    failure_class = "dependency"


class ObjectiveNotFinite(ClassifiedError):
    """Training ended, or diverged, without a finite objective."""

    failure_class = "nan_objective"


class UnreadableResult(ClassifiedError):
    """What an opaque run returned has not the agreed form."""

    failure_class = "parse_error"


class NotSendable(ClassifiedError):
    """A value has no JSON form, or not within the limits."""


class FrameTooLarge(NotSendable):
    """A value is fine but too big for one frame."""

    def __init__(self, kind: str, size: int, limit: int) -> None:
        super().__init__(
            f"the {kind} is {size} bytes as JSON; the limit is {limit} bytes (8 MiB): "
            "save large values with trial.save_artifact"
        )


class ProtocolBroken(ClassifiedError):
    """The worker sent something that is no frame of this protocol. Ends the child."""

    failure_class = "parse_error"


def describe(error: BaseException) -> Failure:
    """The failure record of any exception, bounded, without the runtime's own frames."""
    try:
        return {
            "class": _class_of(error),
            "message": _clip(_message_of(error), MAX_MESSAGE_CHARS),
            "traceback": _traceback_of(error),
            "retryable": isinstance(error, ClassifiedError) and error.retryable,
        }
    except BaseException as second:  # an exception with hostile methods, or no memory left
        name, other = type(error).__name__, type(second).__name__
        return {
            "class": _class_of(error),
            "message": f"{name} (its description failed with {other})",
            "traceback": None,
            "retryable": False,
        }
    finally:
        # The frames hold every local of the failed trainer; the slot must not keep them.
        traceback.clear_frames(error.__traceback__)


def _class_of(error: BaseException) -> str:
    if isinstance(error, ClassifiedError):
        return error.failure_class
    if isinstance(error, MemoryError):
        return "oom"
    if isinstance(error, ModuleNotFoundError):
        return "dependency"
    return "user_code"


def _message_of(error: BaseException) -> str:
    if isinstance(error, ClassifiedError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"the code called sys.exit with code {error.code!r}"
    text = str(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _traceback_of(error: BaseException) -> Optional[str]:
    told = traceback.TracebackException.from_exception(error)
    if not _strip_runtime_frames(told):
        return None
    text = "".join(told.format())
    return _clip_bytes(text, MAX_TRACEBACK_BYTES)


def _strip_runtime_frames(told: traceback.TracebackException) -> bool:
    """Drops the runtime's frames, in the causes too; true when frames of others remain."""
    any_left = False
    link: Optional[traceback.TracebackException] = told
    seen = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        kept = [frame for frame in link.stack if not _is_runtime(frame.filename)]
        link.stack[:] = kept
        any_left = any_left or bool(kept)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return any_left


def _is_runtime(filename: str) -> bool:
    # Trainers and data sets live one directory further down and stay visible.
    return os.path.dirname(filename) == _RUNTIME_DIR or filename.startswith("<frozen importlib")


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def _clip_bytes(text: str, limit: int) -> str:
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= limit:
        return text
    # The end names the error and the innermost frames; the beginning names the entry.
    marker = b"\n  ... (shortened) ...\n"
    head = limit // 4
    tail = limit - head - len(marker)
    return (raw[:head] + marker + raw[-tail:]).decode("utf-8", "ignore")

"""Python warnings raised during a call, kept for its result.

Bounded, each text once, in the order of appearance. Filters are left as user code set them.
Entering resets the "already shown" memory, so that the second trial of a process tells the
same as the first.
"""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Any, List, Optional, Type

# Enough to see a pattern; a loop that warns every step repeats itself.
MAX_REMARKS = 20
MAX_REMARK_CHARS = 500


class Remarks:
    """Context: collects instead of printing. `texts` stays readable afterwards."""

    def __init__(self) -> None:
        self.texts: List[str] = []
        self._scope = warnings.catch_warnings()

    def __enter__(self) -> Remarks:
        self._scope.__enter__()
        warnings.showwarning = self._note  # type: ignore[assignment]  # the rest is ignored
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._scope.__exit__(kind, error, trace)

    def _note(self, message: Any, category: Type[Warning], *_place: Any) -> None:
        if len(self.texts) < MAX_REMARKS:
            text = f"{category.__name__}: {message}"[:MAX_REMARK_CHARS]
            if text not in self.texts:
                self.texts.append(text)

"""Everything that can go wrong, in one hierarchy.

Every error says what happened, why (if anybody knows) and what to do about it; ``str(error)`` has
all three. Catch :class:`CerebrosError` for any of them. Where Python has a word of its own for the
situation, the class is also of that kind: ``except TimeoutError`` catches :class:`ResultTimeout`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import Failure, Outcome


class CerebrosError(Exception):
    """What every error of this package is."""

    def __init__(self, what: str, *, because: str | None = None, help: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        """What happened."""
        self.because = because
        """Why, in the words of whoever said no."""
        self.help = help
        """What to do about it."""

    def __str__(self) -> str:
        lines = [self.what]
        if self.because:
            lines.append(f"because: {self.because}")
        if self.help:
            lines.append(f"help: {self.help}")
        return "\n".join(lines)


class InvalidRequest(CerebrosError, ValueError):
    """What was given cannot be sent: a spec that is no JSON object, a run id with a slash in it."""


class BrokerUnreachable(CerebrosError, ConnectionError):
    """The broker did not answer for as long as the client is patient, or refused us."""


class StreamMissing(CerebrosError, LookupError):
    """The broker is there, and the streams of the product are not: nothing was ever started on it."""


class RunUnknown(CerebrosError, LookupError):
    """There is no run of that id."""


class ResultTimeout(CerebrosError, TimeoutError):
    """The run had not ended when the time was up. It goes on."""


class UnreadableEvent(CerebrosError):
    """An event of the run cannot be decoded here, though others may be able to."""


class AvroSupportMissing(UnreadableEvent, ImportError):
    """An event is written in Avro and the extra ``avro`` is not installed."""


class SchemaUnknown(UnreadableEvent, LookupError):
    """An event is written in Avro with a schema the broker does not have."""


class RunEnded(CerebrosError):
    """The run ended without success."""

    def __init__(self, what: str, outcome: Outcome, *, because: str | None, help: str) -> None:
        super().__init__(what, because=because, help=help)
        self.outcome = outcome
        """How far it came."""


class RunFailed(RunEnded):
    """The run failed; :attr:`failure` says why."""

    @property
    def failure(self) -> Failure | None:
        """Why. None only if the run ended so long ago that its record is gone."""
        return self.outcome.failure


class RunCancelled(RunEnded):
    """Somebody ended the run."""

    @property
    def reason(self) -> str | None:
        """Why, as whoever asked for it gave it."""
        return self.outcome.reason

"""Points in time, as the contract writes them: UTC, ISO-8601, no trailing zeros."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def iso(moment: datetime) -> str:
    """``2026-01-31T12:00:00.5Z``: at most six decimals, none that say nothing."""
    moment = moment.astimezone(timezone.utc)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else ""
    return f"{text}{fraction}Z"


def parse(text: str) -> datetime:
    """Reads ISO-8601 with an offset; digits beyond the microsecond are dropped.

    Raises:
        ValueError: It is no point in time.
    """
    head, dot, rest = text.partition(".")
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        head, text = head, f"{head}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no offset from UTC")
    return moment.astimezone(timezone.utc)


def from_nanoseconds(nanoseconds: int) -> datetime:
    """A broker's time stamp, rounded down to the microsecond."""
    return EPOCH + timedelta(microseconds=nanoseconds // 1000)

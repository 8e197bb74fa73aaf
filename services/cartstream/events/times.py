"""Event time: integer milliseconds since the epoch, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

EventTime: TypeAlias = int

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def from_datetime(moment: datetime) -> EventTime:
    """A time without a zone is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def to_datetime(at: EventTime) -> datetime:
    return _EPOCH + timedelta(milliseconds=at)


def iso(at: EventTime) -> str:
    """ISO 8601 in UTC with milliseconds, as in `2024-03-13T10:21:14.000Z`."""
    return to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"


def parse_iso(text: str) -> EventTime:
    """Raises ValueError."""
    return from_datetime(datetime.fromisoformat(text))

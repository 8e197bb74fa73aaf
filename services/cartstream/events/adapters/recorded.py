"""What adapters have in common: an event ready for the clickstream, and opening files, gzipped or not."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import orjson

from cartstream.events.times import EventTime, iso


class Recorded(NamedTuple):
    """One event: when it happened, its key (the device), and its bytes as native JSON."""

    at: EventTime
    key: str
    value: bytes


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as lines:
        yield lines


def event(at: EventTime, device_id: str, message_id: str, type: str, name: str | None = None, **fields: Any) -> Recorded:
    """A native event. `name` is the track event's name; None values are left out."""
    body = {"type": type, "event": name, "messageId": message_id, "anonymousId": device_id, "timestamp": iso(at), **fields}
    return Recorded(at, device_id, orjson.dumps({key: value for key, value in body.items() if value is not None}))

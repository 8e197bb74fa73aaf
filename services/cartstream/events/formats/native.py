"""What every format takes and gives: a record of any format in, native events out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from cartstream.errors import Refused
from cartstream.events.times import EventTime

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]


class Incoming(NamedTuple):
    """A record as Kafka has it, or a line of a file. `at` is when Kafka took it, 0 if nobody knows."""

    value: bytes
    key: bytes | None = None
    headers: Headers = ()
    at: EventTime = 0


class Native(NamedTuple):
    """One event as native JSON, and what was mended in it (`events.repairs`)."""

    value: bytes
    repairs: tuple[str, ...] = ()


Translate: TypeAlias = Callable[[Incoming], Sequence[Native | Refused]]
"""A format: the record's events in their order, at least one, each by itself kept or refused. Pure, but for a schema that must be asked
for. Raises Refused, when there is no event to be found, and Unavailable."""

"""What every format takes and gives: a record of any format in, native events out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from cartstream.errors import Refused
from cartstream.events.times import EventTime

_NOTHING: Mapping[str, Any] = MappingProxyType({})

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]


class Incoming(NamedTuple):
    """A record as Kafka has it, or a line of a file. `at` is when Kafka took it, 0 or less if nobody knows.

    `spare` is what an envelope around the event says of it, as native fields: for what the event does not say itself.
    """

    value: bytes
    key: bytes | None = None
    headers: Headers = ()
    at: EventTime = 0
    spare: Mapping[str, Any] = _NOTHING


class Native(NamedTuple):
    """One event as native JSON, and what was mended in it (`events.repairs`)."""

    value: bytes
    repairs: tuple[str, ...] = ()


Translate: TypeAlias = Callable[[Incoming], Sequence[Native | Refused]]
"""A format: the record's events in their order, at least one, each by itself kept or refused. Pure, but for a schema that must be asked
for. Raises Refused, when there is no event to be found, and Unavailable."""

"""Records that nobody can use, of every kind, for every topic that somebody reads; the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import orjson

from cartstream.errors import Refused
from cartstream.events import avro, topics
from cartstream.events.clicks import MAX_BYTES
from cartstream.events.records import Activity, Command, Decision, Signal, Watermark
from tests.drills.traffic import END, PARTITIONS

READERS = {
    topics.CLICKSTREAM: "identity",
    topics.IDENTIFIED: "sessions",
    topics.ACTIVITY: "detection",
    topics.SIGNALS: "journeys",
    **{topics.commands(channel): channel for channel in topics.CHANNELS},
    topics.DELIVERIES: "insights",
}
"""Who must set a topic's records aside. Insights also reads signals and commands: what it cannot use either is set aside by both."""
COUNTED_TOO = (topics.SIGNALS, *map(topics.commands, topics.CHANNELS))
_LARGE = MAX_BYTES + 200_000
Bytes = bytes | None
Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Poison:
    """`opaque`: no reader of its topic, whoever it is, can tell what it says."""

    kind: str
    topic: str
    partition: int
    key: Bytes
    value: Bytes
    headers: Headers
    opaque: bool


Make = Callable[[Random, str, int], tuple[Bytes, Bytes]]
"""A key and a value, for a topic, number so and so."""


def doses(random: Random, count: int) -> list[Poison]:
    """Every kind of every topic by turns, as many as wanted, in any order."""
    kinds = [(topic, kind, make, opaque) for topic in READERS for kind, make, opaque in _kinds(topic)]
    chosen = [kinds[number % len(kinds)] for number in range(count)]
    random.shuffle(chosen)
    return [_poison(random, number, *one) for number, one in enumerate(chosen)]


def _poison(random: Random, number: int, topic: str, kind: str, make: Make, opaque: bool) -> Poison:
    key, value = make(random, topic, number)
    return Poison(kind, topic, random.randrange(PARTITIONS), key, value, _ODD_HEADERS if kind == "odd headers" else [], opaque)


_ODD_HEADERS: Headers = [
    ("traceparent", b"00-1-2-03"),
    ("traceparent", b"twice"),
    ("", b"without a name"),
    ("no text", b"\xff\xfe\x00"),
    ("nothing", None),
    ("schlüssel", b"\xc3\xbc"),
    ("cs-reason", b"somebody else's"),
    ("long", b"x" * 10_000),
]


def _kinds(topic: str) -> Iterator[tuple[str, Make, bool]]:
    yield "noise", lambda random, _, number: (b"k%d" % number, b"\xff" + random.randbytes(60)), True
    yield "not UTF-8 in key and value", lambda random, _, number: (b"\xff\xfe%d" % number, b"\xff" + random.randbytes(9)), True
    yield "empty", lambda random, _, number: (b"empty%d" % number, b""), True
    yield "null", lambda random, _, number: (b"null%d" % number, None), True
    yield "nothing at all", lambda random, _, number: (None, None), True
    yield "large", lambda random, _, number: (b"large%d" % number, b"\xff" + random.randbytes(_LARGE)), True
    yield "odd headers", lambda random, _, number: (b"headers%d" % number, b"\xff" + random.randbytes(20)), True
    if topic == topics.CLICKSTREAM:
        yield from _clicks()
        return
    yield "no such schema", lambda random, _, number: (b"k%d" % number, b"\0\xff\xff\xff\xff" + random.randbytes(40)), True
    yield "broken off", _broken_off, True
    yield "a watermark broken off", lambda random, _, number: (None, avro.codec().header_of(Watermark)), True
    yield "of another topic", _misplaced, not topic.startswith("commands.")
    if topic == topics.IDENTIFIED:
        yield from _events()
    else:
        yield "JSON", lambda random, _, number: (b"k%d" % number, _event(number)), True


def _clicks() -> Iterator[tuple[str, Make, bool]]:
    """As browsers and file exports come."""
    broken: dict[str, Callable[[int], bytes]] = {
        "JSON broken off": lambda number: _event(number)[:-9],
        "not UTF-8": lambda number: b'{"type":"page","anonymousId":"\xff%d"}' % number,
        "a list": lambda number: b"[1,%d]" % number,
        "a word": lambda number: b'"%d"' % number,
        "id of another kind": lambda number: _event(number, anonymousId={"a": 1}),
        "nobody": lambda number: _event(number, anonymousId=None),
        "null in words": lambda number: _event(number, anonymousId="null", userId="undefined"),
        "unknown type": lambda number: _event(number, type="dance"),
        "no time": lambda number: _event(number, timestamp=None),
        "far ahead": lambda number: _event(number, timestamp="2999-01-01T00:00:00Z"),
        "long ago": lambda number: _event(number, timestamp="1999-01-01T00:00:00Z"),
        "time beyond all": lambda number: _event(number, timestamp=10**300),
        "time in words": lambda number: _event(number, timestamp="yesterday"),
        "too large": lambda number: _event(number, properties={"name": "x" * _LARGE}),
        "too deep": lambda number: _event(number)[:-1] + b',"properties":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
    }
    for kind, value in broken.items():
        yield kind, lambda random, _, number, value=value: (b"k%d" % number, value(number)), True  # type: ignore[misc]


def _events() -> Iterator[tuple[str, Make, bool]]:
    """As identity would never pass them on."""
    yield "JSON broken off", lambda random, _, number: (b"c_%d" % number, _event(number)[:-9]), True
    yield "without a key", lambda random, _, number: (None, _event(number)), True
    yield "key that is no text", lambda random, _, number: (b"\xff\xfe%d" % number, _event(number)), True
    yield "time beyond all", lambda random, _, number: (b"c_%d" % number, _event(number, timestamp=-(10**300))), True
    yield "time in words", lambda random, _, number: (b"c_%d" % number, _event(number, timestamp="nan")), True


def _event(number: int, **changes: Any) -> bytes:
    said = {"type": "page", "anonymousId": f"poison-{number}", "messageId": f"poison-{number}", "timestamp": "2024-03-04T12:00:00Z"}
    event = {name: value for name, value in (said | changes).items() if value is not None}
    return orjson.dumps(event) if "timestamp" not in changes else msgspec.json.encode(event)


_OWN: dict[str, Callable[[str], msgspec.Struct]] = {
    topics.IDENTIFIED: lambda id: Watermark(f"identity:{id}", 4, 1),
    topics.ACTIVITY: lambda id: Activity(id, "product_viewed", f"c_{id}", END, END),
    topics.SIGNALS: lambda id: Signal(id, "cart_abandoned", f"c_{id}", END, END),
}


def _broken_off(random: Random, topic: str, number: int) -> tuple[Bytes, Bytes]:
    """The topic's own kind of record, its end missing: no more is left of it than anybody can refuse."""
    id = f"poison-{number}"
    whole = avro.codec().encode(_OWN.get(topic, _command)(id))
    for length in range(random.randrange(6, len(whole)), 5, -1):
        try:
            avro.codec().decode(whole[:length])
        except Refused:
            return id.encode(), whole[:length]
    raise AssertionError(f"no part of a record of {topic} is refused")


def _misplaced(random: Random, topic: str, number: int) -> tuple[Bytes, Bytes]:
    """A record in good order that has no place there."""
    id = f"poison-{number}"
    if topic.startswith("commands."):
        record: msgspec.Struct = _command(id, "fax")
    elif topic == topics.DELIVERIES:
        return id.encode(), b"{}" + id.encode()
    else:
        record = Decision(id, f"c_{id}", END, "cart_abandonment", "sent", "none")
    return id.encode(), avro.codec().encode(record)


def _command(id: str, channel: str = "email") -> Command:
    return Command(id, f"c_{id}", channel, "cart_abandonment", "reminder", "cart_reminder", END, END, "none", 0)

"""OTTO's recommender sample: one session a line, `{"session": n, "events": [{"aid", "ts" (ms), "type"}]}`.

An OTTO "session" is a visitor over days, so it is a device here. Events of all visitors are merged by time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from cartstream.errors import ConfigError
from cartstream.events.adapters.recorded import Recorded, event, open_text

_TRACKS = {"clicks": "Product Viewed", "carts": "Product Added", "orders": "Order Completed"}


class _Event(msgspec.Struct):
    aid: int
    ts: int
    type: str


class _Visitor(msgspec.Struct):
    session: int
    events: list[_Event]


def read(path: Path) -> Iterator[Recorded]:
    """In order of time. Raises ConfigError with the line."""
    recorded: list[Recorded] = []
    decode = msgspec.json.Decoder(_Visitor).decode
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                visitor = decode(line)
                recorded += [_native(visitor.session, index, entry) for index, entry in enumerate(visitor.events)]
            except (msgspec.DecodeError, KeyError) as error:
                raise ConfigError(f"{path}, line {number}: not an OTTO session ({error})") from error
    return iter(sorted(recorded, key=lambda entry: entry.at))


def _native(visitor: int, index: int, entry: _Event) -> Recorded:
    product = {"product_id": str(entry.aid), "quantity": 1}
    properties = {"order_id": f"{visitor}-{entry.ts}", "products": [product]} if entry.type == "orders" else product
    return event(entry.ts, f"otto-{visitor}", f"otto-{visitor}-{index}", "track", _TRACKS[entry.type], properties=properties)

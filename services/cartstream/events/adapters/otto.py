"""OTTO's recommender sample: one session a line, `{"session": n, "events": [{"aid", "ts" (ms), "type"}]}`.

An OTTO "session" is a visitor over days, so it is a device here. Events of all visitors are merged by time. What a visitor ordered in one
moment, an event a product there, is one order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
                recorded += _events(visitor)
            except (msgspec.DecodeError, KeyError) as error:
                raise ConfigError(f"{path}, line {number}: not an OTTO session ({error})") from error
    return iter(sorted(recorded, key=lambda entry: entry.at))


def _events(visitor: _Visitor) -> Iterator[Recorded]:
    orders: dict[int, list[int]] = {}
    for entry in visitor.events:
        if entry.type == "orders":
            orders.setdefault(entry.ts, []).append(entry.aid)
    for index, entry in enumerate(visitor.events):
        name = _TRACKS[entry.type]
        if entry.type == "orders":
            if entry.ts not in orders:
                continue
            products = [_product(aid) for aid in orders.pop(entry.ts)]
            properties: dict[str, Any] = {"order_id": f"{visitor.session}-{entry.ts}", "products": products}
        else:
            properties = _product(entry.aid)
        yield event(entry.ts, f"otto-{visitor.session}", f"otto-{visitor.session}-{index}", "track", name, properties=properties)


def _product(aid: int) -> dict[str, Any]:
    return {"product_id": str(aid), "quantity": 1}

"""retentioneering's e-commerce sample: CSV of user, session, event, time, platform.

A device is a user's platform. The shopper is known from the first event that says who it is (purchase, account page, shipping
or payment details): then the adapter adds an `identify` with an address under example.test and consent. The file names no
products, so each add to cart of a session is a product of its own, and a purchase takes the whole cart.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cartstream.errors import ConfigError
from cartstream.events.adapters.recorded import Recorded, event, open_text
from cartstream.events.records import make_id
from cartstream.events.times import EventTime, from_datetime

_KNOWN_AT = frozenset({"purchase", "account_page", "shipping_details", "payment_details"})
_TRACKS = {
    "product_view": "Product Viewed",
    "add_to_cart": "Product Added",
    "cart": "Cart Viewed",
    "shipping_details": "Checkout Step Viewed",
    "payment_details": "Payment Info Entered",
    "purchase": "Order Completed",
}
PRICE = 25.0


def read(path: Path) -> Iterator[Recorded]:
    """In order of time, however the file is sorted. Raises ConfigError with the line."""
    with open_text(path) as lines:
        rows = list(_rows(path, csv.DictReader(lines)))
    rows.sort(key=lambda row: (row[0], row[1]))
    known: set[str] = set()
    for at, number, row in rows:
        yield from _events(at, number, row, known)


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[tuple[EventTime, int, dict[str, str]]]:
    for number, row in enumerate(reader, start=2):
        try:
            moment = datetime.strptime(row["timestamp"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            yield from_datetime(moment), number, {name: row[name] for name in ("user_id", "session_id", "event", "platform")}
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{path}, line {number}: not a row of user_id, session_id, event, timestamp, platform ({error})") from error


def _events(at: EventTime, number: int, row: dict[str, str], known: set[str]) -> Iterator[Recorded]:
    user, name = row["user_id"], row["event"]
    device = f"{user}-{row['platform']}"
    message = f"ecom-{number}"
    user_id = user if name in _KNOWN_AT else None
    if user_id and device not in known:
        known.add(device)
        traits = {"email": f"{user}@example.test", "consent": {"email": True, "sms": False, "push": False}}
        yield event(at, device, f"{message}-identify", "identify", userId=user, traits=traits)
    context = {"device": {"type": row["platform"]}}
    track = _TRACKS.get(name)
    if track is None:
        yield event(at, device, message, "page", userId=user_id, name=name, context=context)
    else:
        yield event(at, device, message, "track", track, userId=user_id, context=context, properties=_properties(name, row, number))


def _properties(name: str, row: dict[str, str], number: int) -> dict[str, object]:
    if name == "add_to_cart":
        return {"product_id": f"p-{make_id(row['session_id'], number)[:8]}", "quantity": 1, "price": PRICE, "currency": "EUR"}
    if name == "purchase":
        return {"order_id": f"o-{number}", "currency": "EUR"}
    if name == "product_view":
        return {"product_id": f"v-{make_id(row['session_id'], number)[:8]}", "price": PRICE, "currency": "EUR"}
    return {}

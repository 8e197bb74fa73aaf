"""Products looked at: what a visit, and a customer's habits, keep of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from operator import attrgetter

import msgspec

from cartstream.events.times import EventTime
from cartstream.sessions.basket import pack

PRICE_LIMIT = 1e9
CURRENCY_LIMIT = 16
newest = attrgetter("at", "product_id")
"""To sort by."""


@lru_cache(maxsize=512)
def currency_code(said: str) -> str | None:
    """As ISO 4217 writes it. Kept, since each price asks."""
    return said.strip().upper()[:CURRENCY_LIMIT] or None


class View(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A product, when it was looked at last, and how often (`views`). `price` is in hundredths if it is whole, else as it is.

    While it is stored, `at` is a distance, and `currency` None is that of what it is stored with, "" none.
    """

    product_id: str
    at: EventTime
    price: int | float | None = None
    currency: str | None = None
    views: int = 1


def packed_view(product_id: str, after: EventTime, price: int | float | None, currency: str | None, views: int) -> bytes:
    """Without what it need not say."""
    if views > 1:
        return pack((product_id, after, price, currency, views))
    if currency is not None:
        return pack((product_id, after, price, currency))
    return pack((product_id, after)) if price is None else pack((product_id, after, price))


def by_product(views: Iterable[View], base: str | None = None) -> list[View]:
    """One of each product, newest last: as it was last, and how often in all. Whatever order they are in. They are stored beside `base`."""
    found: dict[str, View] = {}
    for view in views:
        known = found.get(view.product_id)
        found[view.product_id] = view if known is None else _both(known, view, base)
    return sorted(found.values(), key=newest)


def currency_of(view: View, base: str | None) -> str | None:
    """Of one that is stored beside such a currency."""
    return (base if view.currency is None else view.currency) or None if view.price is not None else None


def mark_of(view: View, base: str | None) -> str | None:
    """The `currency` to store beside such a currency."""
    said = view.currency or ""
    return None if view.price is None or said == base else said


def _both(one: View, other: View, base: str | None) -> View:
    last = one if one.at > other.at else other
    if one.at == other.at:
        last = max(one, other, key=lambda view: (-1.0 if view.price is None else _amount(view.price), currency_of(view, base) or ""))
    return View(last.product_id, last.at, last.price, last.currency, one.views + other.views)


def _amount(price: int | float) -> float:
    return price / 100 if price.__class__ is int else price

"""Products looked at: what a visit, and a customer's habits, keep of them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from cartstream.events.times import EventTime
from cartstream.sessions.basket import pack


class View(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A product, when it was looked at last, and how often (`views`). `price` is in hundredths if it is whole, else as it is.

    While it is stored, `at` is a distance, and `currency` None is that of what it is stored with, "" none.
    """

    product_id: str
    at: EventTime
    price: int | float | None = None
    currency: str | None = None
    views: int = 1

    @property
    def amount(self) -> float | None:
        return self.price / 100 if self.price.__class__ is int and self.price is not None else self.price


def in_hundredths(price: float) -> int | float:
    hundredths = int(price * 100 + 0.5)
    return hundredths if hundredths / 100 == price else price


def packed_view(product_id: str, after: EventTime, price: int | float | None, currency: str | None, views: int) -> bytes:
    """Without what it need not say."""
    if views > 1:
        return pack((product_id, after, price, currency, views))
    if currency is not None:
        return pack((product_id, after, price, currency))
    return pack((product_id, after)) if price is None else pack((product_id, after, price))


def by_product(views: Iterable[View]) -> list[View]:
    """One of each product, newest last: as it was last, and how often in all. Whatever order they are in."""
    found: dict[str, View] = {}
    for view in views:
        known = found.get(view.product_id)
        if known is not None:
            last = max(known, view, key=newest)
            view = View(last.product_id, last.at, last.price, last.currency, known.views + view.views)
        found[view.product_id] = view
    return sorted(found.values(), key=newest)


def newest(view: View) -> tuple[EventTime, str, float, str]:
    """To sort by."""
    return (view.at, view.product_id, -1.0 if view.price is None else view.amount or 0.0, view.currency or "")

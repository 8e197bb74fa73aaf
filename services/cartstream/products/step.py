"""What is new about a product, pure: price and stock against what was last said. Only that goes on, to everybody."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from cartstream.events import topics
from cartstream.events.records import Product
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output, Step


class ProductState(msgspec.Struct, array_like=True):
    """What was last said of a product."""

    product_id: str
    at: EventTime
    price: float | None = None
    currency: str | None = None
    available: bool | None = None
    name: str | None = None


def step(state: ProductState | None, said: Product, everywhere: Sequence[str]) -> Step[ProductState]:
    """`everywhere` has one key for each partition of `activity`. What is older than what is known changes nothing."""
    if state is not None and said.at <= state.at:
        return Step(state, changed=False, outcomes=[("product", "repeated" if said.at == state.at else "stale")])
    before = state or ProductState(said.product_id, said.at)
    now = ProductState(
        said.product_id,
        said.at,
        before.price if said.price is None else said.price,
        said.currency or before.currency,
        before.available if said.available is None else said.available,
        said.name or before.name,
    )
    what = _what_changed(state, now)
    outputs = [Output(topics.ACTIVITY, key, _told(said, before, now)) for key in everywhere] if what != "unchanged" else []
    return Step(now, outputs, outcomes=[("product", what)])


def _what_changed(before: ProductState | None, now: ProductState) -> str:
    if before is None:
        return "new" if now.available is False else "unchanged"
    if now.available is not before.available:
        return "stock"
    return "unchanged" if (now.price, now.currency) == (before.price, before.currency) else "price"


def _told(said: Product, before: ProductState, now: ProductState) -> Product:
    """Prices in two currencies cannot be held against each other: then there is none before."""
    return replace(
        said,
        price=now.price,
        currency=now.currency,
        available=now.available,
        name=now.name,
        previous_price=before.price if before.currency == now.currency else None,
        previous_available=before.available,
    )

"""Output records in the terms in which all engines are compared, cartstream's own included."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import msgspec
import orjson

from cartstream.events.records import Activity, Cart, Session
from cartstream.events.times import EventTime

Name: TypeAlias = tuple[str, str]


class Visit(NamedTuple):
    started_at: EventTime
    ended_at: EventTime
    events: int
    orders: int
    page_views: int
    viewed: tuple[str, ...]


class Basket(NamedTuple):
    """`items` are (product, quantity, cents), by product."""

    version: EventTime
    items: tuple[tuple[str, int, int], ...]
    cents: int
    currency: str | None


class Fact(NamedTuple):
    """What an engine told. `cause` is the message id; of a session's start and end the device and when it started."""

    kind: str
    cause: str
    customer: str
    device: str
    at: EventTime
    visit: Visit | None
    basket: Basket | None
    trigger: str | None = None
    bought: tuple[str, ...] | None = None

    @property
    def name(self) -> Name:
        """No two records of a correct output have the same."""
        return self.kind, self.cause


def cents(amount: float | None) -> int:
    """Sums of prices are compared to the cent."""
    return round((amount or 0.0) * 100)


def from_peer(key: bytes, value: bytes) -> Fact:
    """A record of a peer. Raises ValueError or KeyError for anything else."""
    told = orjson.loads(value)
    if key.decode() != told["customer_id"]:
        raise ValueError(f"a record of {told['customer_id']} under another key")
    session = None if told.get("session") is None else msgspec.convert(told["session"] | {"device_id": told["device_id"]}, Session)
    return Fact(
        kind=told["kind"],
        cause=_cause(told["id"], told["kind"], session),
        customer=told["customer_id"],
        device=told["device_id"],
        at=told["at"],
        visit=_visit(session),
        basket=_basket(None if told.get("cart") is None else msgspec.convert(told["cart"], Cart)),
        trigger=told.get("trigger"),
        bought=_bought(told),
    )


def from_activity(activity: Activity) -> Fact:
    """A record of cartstream's sessions."""
    return Fact(
        kind=activity.kind,
        cause=_cause(activity.id, activity.kind, activity.session),
        customer=activity.customer_id,
        device=activity.device_id or "",
        at=activity.at,
        visit=_visit(activity.session),
        basket=_basket(activity.cart),
        trigger=None if activity.exit is None else activity.exit.trigger,
        bought=None if activity.order is None else tuple(activity.order.product_ids),
    )


def _bought(told: dict[str, Any]) -> tuple[str, ...] | None:
    return None if told.get("bought") is None else tuple(told["bought"])


def _cause(id: str, kind: str, session: Session | None) -> str:
    if kind in ("session_started", "session_ended") and session is not None:
        return f"{session.device_id}:{session.started_at}"
    return id.rpartition(":")[0]


def _visit(session: Session | None) -> Visit | None:
    if session is None:
        return None
    return Visit(session.started_at, session.ended_at, session.events, session.orders, session.page_views, tuple(session.viewed))


def _basket(cart: Cart | None) -> Basket | None:
    if cart is None:
        return None
    items = sorted((item.product_id, item.quantity, cents(item.price)) for item in cart.items)
    return Basket(cart.version, tuple(items), cents(cart.value), cart.currency)

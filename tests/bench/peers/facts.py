"""Output records in the terms in which all engines are compared, cartstream's own included."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

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
    visit: Visit
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
    customer = told["customer_id"]
    if key.decode() != customer:
        raise ValueError(f"a record of {customer} under another key")
    session, cart = told["session"], told.get("cart")
    kind = told["kind"]
    return Fact(
        kind=kind,
        cause=_cause(kind, told["id"], told["device_id"], session["started_at"]),
        customer=customer,
        device=told["device_id"],
        at=told["at"],
        visit=Visit(**{name: session[name] for name in Visit._fields[:-1]}, viewed=tuple(session["viewed"])),
        basket=None if cart is None else _basket_of(cart),
        trigger=told.get("trigger"),
        bought=None if told.get("bought") is None else tuple(told["bought"]),
    )


def _basket_of(cart: dict[str, Any]) -> Basket:
    items = sorted((item["product_id"], item["quantity"], cents(item["price"])) for item in cart["items"])
    return Basket(cart["version"], tuple(items), cents(cart["value"]), cart["currency"])


def from_activity(activity: Activity) -> Fact:
    """A record of cartstream's sessions. Raises ValueError for one that no click caused."""
    session = activity.session
    if session is None or activity.device_id is None:
        raise ValueError(f"{activity.kind} without a session")
    return Fact(
        kind=activity.kind,
        cause=_cause(activity.kind, activity.id, activity.device_id, session.started_at),
        customer=activity.customer_id,
        device=activity.device_id,
        at=activity.at,
        visit=_visit(session),
        basket=None if activity.cart is None else _basket(activity.cart),
        trigger=None if activity.exit is None else activity.exit.trigger,
        bought=None if activity.order is None else tuple(activity.order.product_ids),
    )


def _visit(session: Session) -> Visit:
    return Visit(session.started_at, session.ended_at, session.events, session.orders, session.page_views, tuple(session.viewed))


def _basket(cart: Cart) -> Basket:
    items = tuple((item.product_id, item.quantity, cents(item.price)) for item in cart.items)
    return Basket(cart.version, items, cents(cart.value), cart.currency)


def _cause(kind: str, id: str, device: str, started_at: EventTime) -> str:
    return f"{device}:{started_at}" if kind in ("session_started", "session_ended") else id.removesuffix(f":{kind}")

"""The job that the Python peers share: click, state, the rules, output record. docs/peers.md has it in words.

A peer's environment holds its engine and msgspec, and nothing of cartstream.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import msgspec

GAP = 30 * 60 * 1000
LIMIT = 24 * 60 * 60 * 1000
VIEWED_LIMIT = 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CLICK = ord("{")


class Properties(msgspec.Struct, gc=False):
    product_id: str | None = None
    price: float = 0.0
    quantity: int = 0
    currency: str | None = None
    trigger: str | None = None


class Click(msgspec.Struct, gc=False, rename="camel"):
    """Only the fields that the job uses."""

    type: str
    message_id: str
    anonymous_id: str
    timestamp: datetime
    event: str | None = None
    properties: Properties | None = None


class Visit(msgspec.Struct, array_like=True):
    """A session that is not over, as far as is known. `viewed` has the last products looked at, newest last."""

    device: str
    started_at: int
    last_at: int
    events: int = 0
    orders: int = 0
    page_views: int = 0
    viewed: list[str] = []


class Line(msgspec.Struct, array_like=True):
    quantity: int
    price: float
    at: int


class Shopper(msgspec.Struct, array_like=True):
    """What the job keeps of one customer."""

    visit: Visit | None = None
    lines: dict[str, Line] = {}
    version: int = 0
    currency: str | None = None
    order_mark: int = 0
    checkout_at: int = 0


class Session(msgspec.Struct, gc=False):
    session_id: str
    started_at: int
    ended_at: int
    events: int
    orders: int
    page_views: int
    viewed: list[str]


class Item(msgspec.Struct, gc=False):
    product_id: str
    quantity: int
    price: float


class Cart(msgspec.Struct, gc=False):
    version: int
    items: list[Item]
    value: float
    currency: str | None


class Fact(msgspec.Struct, gc=False, omit_defaults=True):
    """One output record. A session's start and end tell of the session, the cart's changes, checkouts and orders of the cart after
    them, and an exit signal of both.
    """

    id: str
    kind: str
    customer_id: str
    device_id: str
    at: int
    session: Session | None = None
    cart: Cart | None = None
    trigger: str | None = None
    bought: list[str] | None = None


decode = msgspec.json.Decoder(Click).decode
encode = msgspec.json.Encoder().encode
pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(Shopper).decode
_NO_PROPERTIES = Properties()


def is_click(value: bytes | None) -> bool:
    """Watermarks and other control records of the topic are Avro."""
    return bool(value) and value[0] == _CLICK  # type: ignore[index]


def apply(shopper: Shopper, customer: str, click: Click) -> list[bytes]:
    """Apply one click to the state in place; what is told of it, in order. A session ends when the next click finds it over."""
    at = (click.timestamp - _EPOCH) // _MILLISECOND
    facts: list[bytes] = []
    visit = shopper.visit
    if visit is not None and (at > visit.last_at + GAP or at >= visit.started_at + LIMIT):
        ends_at = min(visit.last_at + GAP, visit.started_at + LIMIT)
        session = _session(visit)
        facts.append(encode(Fact(session.session_id + ":ended", "session_ended", customer, visit.device, ends_at, session)))
        visit = None
    if visit is None:
        visit = shopper.visit = Visit(click.anonymous_id, at, at)
        session = _session(visit)
        facts.append(encode(Fact(session.session_id + ":started", "session_started", customer, visit.device, at, session)))
    visit.events += 1
    visit.last_at = max(visit.last_at, at)
    if click.type == "track":
        kind = _track(shopper, visit, click, at)
        if kind is not None:
            facts.append(_told(kind, shopper, visit, customer, click, at))
    elif click.type == "page" or click.type == "screen":
        visit.page_views += 1
    return facts


def _track(shopper: Shopper, visit: Visit, click: Click, at: int) -> str | None:
    """The kind of fact to tell, if any."""
    event, properties = click.event, click.properties or _NO_PROPERTIES
    if event == "Product Viewed":
        _view(visit, properties.product_id)
    elif event == "Product Added":
        return _changed(shopper, properties, at) if _add(shopper, properties, at) else None
    elif event == "Product Removed":
        return _changed(shopper, properties, at) if _remove(shopper, properties, at) else None
    elif event == "Exit Intent":
        return "exit_signal"
    elif event == "Checkout Started":
        first = shopper.checkout_at <= shopper.order_mark
        shopper.checkout_at = max(shopper.checkout_at, at)
        return "checkout_started" if first else None
    elif event == "Order Completed":
        visit.orders += 1
        if _order(shopper, properties, at):
            _changed(shopper, properties, at)
        return "order_placed"
    return None


def _view(visit: Visit, product: str | None) -> None:
    if product is None:
        return
    viewed = visit.viewed
    if product in viewed:
        viewed.remove(product)
    viewed.append(product)
    if len(viewed) > VIEWED_LIMIT:
        del viewed[0]


def _changed(shopper: Shopper, properties: Properties, at: int) -> str:
    shopper.version = max(at, shopper.version + 1)
    shopper.currency = properties.currency or shopper.currency
    if shopper.lines:
        return "cart_updated"
    shopper.checkout_at = 0
    return "cart_emptied"


def _add(shopper: Shopper, properties: Properties, at: int) -> bool:
    product, quantity = properties.product_id, properties.quantity or 1
    if product is None:
        return False
    line = shopper.lines.get(product)
    if line is None:
        shopper.lines[product] = Line(quantity, properties.price, at)
    else:
        line.quantity += quantity
        line.price, line.at = properties.price, at
    return True


def _remove(shopper: Shopper, properties: Properties, at: int) -> bool:
    """Without a quantity, or with as many as there are, the product goes."""
    line = shopper.lines.get(properties.product_id or "")
    if line is None:
        return False
    if properties.quantity == 0 or properties.quantity >= line.quantity:
        del shopper.lines[properties.product_id or ""]
    else:
        line.quantity -= properties.quantity
        line.at = at
    return True


def _order(shopper: Shopper, properties: Properties, at: int) -> bool:
    """What was bought leaves the cart: the product that the order names, or everything when it names none."""
    shopper.order_mark = max(shopper.order_mark, at)
    shopper.checkout_at = 0
    if properties.product_id is not None:
        return shopper.lines.pop(properties.product_id, None) is not None
    had = bool(shopper.lines)
    shopper.lines.clear()
    return had


def _told(kind: str, shopper: Shopper, visit: Visit, customer: str, click: Click, at: int) -> bytes:
    fact = Fact(f"{click.message_id}:{kind}", kind, customer, visit.device, at, cart=_cart(shopper))
    properties = click.properties or _NO_PROPERTIES
    if kind == "exit_signal":
        fact.session = _session(visit)
        fact.trigger = properties.trigger or "unknown"
    elif kind == "order_placed":
        fact.bought = [properties.product_id] if properties.product_id is not None else []
    return encode(fact)


def _session(visit: Visit) -> Session:
    id = f"{visit.device}:{visit.started_at}"
    return Session(id, visit.started_at, visit.last_at, visit.events, visit.orders, visit.page_views, visit.viewed)


def _cart(shopper: Shopper) -> Cart | None:
    if not shopper.lines:
        return None
    items = [Item(product, line.quantity, line.price) for product, line in shopper.lines.items()]
    value = sum([item.quantity * item.price for item in items])
    return Cart(shopper.version, items, round(value, 2), shopper.currency)


class Progress:
    """Tells the bench, on standard output, how many clicks are done: after the first, every fortieth part, and the last."""

    def __init__(self) -> None:
        self.total = int(os.environ["PEER_EVENTS"])
        self._step = max(1, self.total // 40)
        self._done = 0
        self._next = 1

    def count(self, clicks: int = 1) -> bool:
        """True when these were the last."""
        self._done = done = self._done + clicks
        if done < self._next:
            return False
        # Straight to the file descriptor: faust sends sys.stdout to its log.
        os.write(1, b"PROGRESS %d\n" % done)
        self._next = min(done - done % self._step + self._step, self.total) if done < self.total else done + self.total
        return done >= self.total

"""What must be told of a stream of clicks, worked out apart from every engine.

Only for streams as the bench makes them: each customer has one device, and clicks come in the order of their times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from cartstream.events.times import HOUR, MINUTE, EventTime, parse_iso
from tests.bench.peers.facts import Basket, Fact, Name, Visit, cents

GAP = 30 * MINUTE
LIMIT = 24 * HOUR
VIEWED_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Ending:
    """A session's end. `followed` when a later click of the customer is there to find it over."""

    digest: int
    at: EventTime
    followed: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """Digests of records by name: what must be there once, and what may be."""

    required: dict[Name, int]
    allowed: dict[Name, int]


@dataclass(slots=True)
class Reference:
    """All records that a stream of `clicks` leads to; the digest is the hash of the Fact."""

    clicks: int = 0
    told: dict[Name, int] = field(default_factory=dict)
    endings: dict[Name, Ending] = field(default_factory=dict)

    def at_the_next_click(self) -> Expected:
        """For engines that end a session when the customer's next click finds it over."""
        return self._expected(lambda ending: ending.followed)

    def by_watermark(self, watermark: EventTime) -> Expected:
        """For engines whose timers end every session that is over at the watermark."""
        return self._expected(lambda ending: ending.at <= watermark)

    def _expected(self, is_due: Callable[[Ending], bool]) -> Expected:
        due = {name: ending.digest for name, ending in self.endings.items() if is_due(ending)}
        rest = {name: ending.digest for name, ending in self.endings.items() if name not in due}
        return Expected(self.told | due, rest)


@dataclass(slots=True)
class _Stay:
    """A session: (time, what, product) of each of its clicks."""

    device: str
    began: EventTime
    clicks: list[tuple[EventTime, str, str | None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.device}:{self.began}"

    @property
    def last(self) -> EventTime:
        return self.clicks[-1][0] if self.clicks else self.began

    def visit(self) -> Visit:
        views = {product: number for number, (_, what, product) in enumerate(self.clicks) if what == "Product Viewed" and product}
        return Visit(
            started_at=self.began,
            ended_at=self.last,
            events=len(self.clicks),
            orders=sum(what == "Order Completed" for _, what, _ in self.clicks),
            page_views=sum(what in ("page", "screen") for _, what, _ in self.clicks),
            viewed=tuple(sorted(views, key=views.__getitem__)[-VIEWED_LIMIT:]),
        )


@dataclass(slots=True)
class _Customer:
    stay: _Stay | None = None
    cart: dict[str, tuple[int, float]] = field(default_factory=dict)
    changed_at: EventTime = 0
    currency: str | None = None
    in_checkout: bool = False

    def basket(self) -> Basket | None:
        if not self.cart:
            return None
        items = tuple((product, quantity, cents(price)) for product, (quantity, price) in sorted(self.cart.items()))
        return Basket(self.changed_at, items, sum(quantity * price for _, quantity, price in items), self.currency)

    def shop(self, what: str, properties: dict[str, Any], at: EventTime) -> str | None:
        """Change the cart; the kind of record that the click is told by, if any."""
        before, self.cart = self.cart, _cart_after(self.cart, what, properties)
        changed = before != self.cart
        if changed:
            self.changed_at, self.currency = at, properties.get("currency") or self.currency
        if what == "Order Completed" or (changed and not self.cart):
            self.in_checkout = False
        if what == "Checkout Started":
            first, self.in_checkout = not self.in_checkout, True
            return "checkout_started" if first else None
        if what in ("Order Completed", "Exit Intent"):
            return "order_placed" if what == "Order Completed" else "exit_signal"
        return ("cart_updated" if self.cart else "cart_emptied") if changed else None


def _cart_after(cart: dict[str, tuple[int, float]], what: str, properties: dict[str, Any]) -> dict[str, tuple[int, float]]:
    product, said = properties.get("product_id"), properties.get("quantity")
    quantity, price = cart.get(product or "", (0, 0.0))
    if what == "Product Added" and product:
        return cart | {product: (quantity + (said or 1), properties["price"])}
    if what == "Product Removed" and product and said and said < quantity:
        return cart | {product: (quantity - said, price)}
    if what == "Order Completed" and not product:
        return {}
    if what in ("Product Removed", "Order Completed"):
        return {kept: line for kept, line in cart.items() if kept != product}
    return cart


class Referee:
    """Takes the clicks of the identified topic one by one; `finish` says what they must lead to."""

    def __init__(self) -> None:
        self._reference = Reference()
        self._customers: dict[str, _Customer] = {}

    def see(self, key: bytes, value: bytes) -> None:
        click = orjson.loads(value)
        who, device, at = key.decode(), click["anonymousId"], parse_iso(click["timestamp"])
        what: str = click["event"] if click["type"] == "track" else click["type"]
        properties: dict[str, Any] = click.get("properties") or {}
        customer = self._customers.setdefault(who, _Customer())
        self._reference.clicks += 1
        stay = self._stay(who, customer, device, at)
        stay.clicks.append((at, what, properties.get("product_id")))
        kind = customer.shop(what, properties, at)
        if kind is not None:
            fact = Fact(kind, click["messageId"], who, device, at, None, customer.basket())
            if kind == "exit_signal":
                fact = fact._replace(visit=stay.visit(), trigger=properties.get("trigger") or "unknown")
            elif kind == "order_placed":
                fact = fact._replace(bought=tuple(filter(None, [properties.get("product_id")])))
            self._reference.told[fact.name] = hash(fact)

    def finish(self) -> Reference:
        """No more clicks. Sessions that are still open may have an end or not."""
        for who, customer in self._customers.items():
            if customer.stay is not None:
                self._end(who, customer.stay, followed=False)
        self._customers.clear()
        return self._reference

    def _stay(self, who: str, customer: _Customer, device: str, at: EventTime) -> _Stay:
        """The session that a click at this time belongs to; exactly the gap after the last one it is still the same."""
        stay = customer.stay
        if stay is not None and at <= stay.last + GAP and at < stay.began + LIMIT:
            return stay
        if stay is not None:
            self._end(who, stay, followed=True)
        customer.stay = stay = _Stay(device, at)
        fact = Fact("session_started", stay.name, who, device, at, stay.visit(), None)
        self._reference.told[fact.name] = hash(fact)
        return stay

    def _end(self, who: str, stay: _Stay, *, followed: bool) -> None:
        over_at = min(stay.last + GAP, stay.began + LIMIT)
        fact = Fact("session_ended", stay.name, who, stay.device, over_at, stay.visit(), None)
        self._reference.endings[fact.name] = Ending(hash(fact), over_at, followed)

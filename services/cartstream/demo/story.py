"""A shopper's story: what one person does on their devices, as a list of acts, and as the events that a shop would send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from cartstream.events.adapters.recorded import Recorded, event
from cartstream.events.times import MINUTE, SECOND, EventTime

PRICE = 39.9
Consent = dict[str, bool]


class Act(NamedTuple):
    """What happened: page, view, add, remove, checkout, order, exit or identify. `consent` only with identify, `trigger` with exit."""

    at: EventTime
    device: str
    kind: str
    message_id: str
    product: str | None = None
    trigger: str | None = None
    consent: Consent | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Who a shopper is. An address that is None is never told; `push` is a browser's subscription."""

    number: int
    timezone: str
    email: str | None = None
    phone: str | None = None
    push: dict[str, Any] | None = None

    @property
    def user_id(self) -> str:
        return f"user-{self.number}"

    @property
    def push_id(self) -> str | None:
        """What the provider sees of the subscription."""
        return str(self.push["endpoint"]).rpartition("/")[2] if self.push is not None else None

    def recipient(self, channel: str) -> str | None:
        """As the provider of the channel names this person."""
        return {"email": self.email, "sms": self.phone, "push": self.push_id}[channel]

    def traits(self, consent: Consent) -> dict[str, Any]:
        found = {"email": self.email, "phone": self.phone, "push": self.push, "timezone": self.timezone, "consent": consent}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(slots=True)
class Story:
    """Acts in order of time. Verbs append at the cursor `at` and move it on by some seconds."""

    person: Person
    draw: Random
    at: EventTime
    kind: str = ""
    acts: list[Act] = field(default_factory=list)
    device: str = ""
    cart: list[str] = field(default_factory=list)

    def on(self, device: str) -> Story:
        """Go on with this device: `phone`, `laptop`, …"""
        self.device = f"{device}-{self.person.number}"
        return self

    def wait(self, least_minutes: float, most_minutes: float) -> Story:
        self.at += self.draw.randint(int(least_minutes * MINUTE), int(most_minutes * MINUTE))
        return self

    def browse(self, products: int = 2) -> Story:
        self._act("page")
        for _ in range(products):
            self._act("view", product=f"p{self.draw.randrange(500)}")
        return self

    def sign_in(self, consent: Consent) -> Story:
        return self._act("identify", consent=consent)

    def add(self, products: int = 1) -> Story:
        for _ in range(products):
            product = f"p{self.person.number}-{len(self.acts)}"
            self.cart.append(product)
            self._act("add", product=product)
        return self

    def empty(self) -> Story:
        while self.cart:
            self._act("remove", product=self.cart.pop())
        return self

    def check_out(self) -> Story:
        return self._act("checkout")

    def buy(self) -> Story:
        self.cart.clear()
        return self._act("order")

    def leave(self, trigger: str = "back_press") -> Story:
        return self._act("exit", trigger=trigger)

    def _act(self, kind: str, *, product: str | None = None, trigger: str | None = None, consent: Consent | None = None) -> Story:
        message_id = f"{self.person.number}-{len(self.acts)}"
        self.acts.append(Act(self.at, self.device, kind, message_id, product, trigger, consent))
        self.at += self.draw.randint(8 * SECOND, 70 * SECOND)
        return self

    def events(self) -> list[Recorded]:
        """The acts as native events. A device says who is there from its first identify on."""
        known: set[str] = set()
        made = []
        for act in self.acts:
            if act.kind == "identify":
                known.add(act.device)
            user_id = self.person.user_id if act.device in known else None
            type, name, fields = _WIRE[act.kind](self.person, act)
            made.append(event(act.at, act.device, act.message_id, type, name, userId=user_id, **fields))
        return made


_Wire = tuple[str, str | None, dict[str, Any]]


def _product(name: str) -> Callable[[Person, Act], _Wire]:
    return lambda person, act: (
        "track",
        name,
        {"properties": {"product_id": act.product, "name": f"Item {act.product}", "price": PRICE, "quantity": 1, "currency": "EUR"}},
    )


_WIRE: dict[str, Callable[[Person, Act], _Wire]] = {
    "page": lambda person, act: ("page", "Catalogue", {}),
    "view": _product("Product Viewed"),
    "add": _product("Product Added"),
    "remove": _product("Product Removed"),
    "checkout": lambda person, act: ("track", "Checkout Started", {"properties": {"currency": "EUR"}}),
    "order": lambda person, act: ("track", "Order Completed", {"properties": {"order_id": act.message_id, "currency": "EUR"}}),
    "exit": lambda person, act: ("track", "Exit Intent", {"properties": {"trigger": act.trigger, "dwell_ms": 20_000}}),
    "identify": lambda person, act: ("identify", None, {"traits": person.traits(act.consent or {})}),
}

"""What detection must say of a shopper whose whole story is known, and of the products that the shopper wants.

Written from the rules as `docs/detection.md` states them, not from the service's code: nothing here knows of partitions, watermarks, merges
or arrival. An exit's score is a probability, so exits are not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random
from typing import NamedTuple

from cartstream.demo.story import PRICE, Act, Story
from cartstream.events.records import Product
from cartstream.events.times import DAY, HOUR, MINUTE, EventTime

KINDS = ("checkout_abandoned", "cart_abandoned", "browse_abandoned", "cart_recovered", "price_dropped", "back_in_stock")
SILENCE = 30 * MINUTE
WANTED_FOR = 7 * DAY
DROP = 0.95
COOLDOWN = DAY
FOREVER: EventTime = 2**62


class Said(NamedTuple):
    """A signal about a person, by the time that it names."""

    person: int
    kind: str
    at: EventTime


@dataclass(slots=True)
class _Wish:
    price: float
    last_look: EventTime
    in_cart: bool = False
    gone: bool = False


@dataclass(slots=True)
class _Mind:
    """What is known of the shopper, and of the shop, on the way through the story."""

    story: Story
    changes: Sequence[Product]
    price: dict[str, float] = field(default_factory=dict)
    there: dict[str, bool] = field(default_factory=dict)
    wishes: dict[str, _Wish] = field(default_factory=dict)
    seen: bool = False
    bought: bool = False
    version: EventTime = 0
    cart_began: EventTime = 0
    checkout_at: EventTime = 0
    abandoned: str | None = None
    told: set[tuple[str, EventTime]] = field(default_factory=set)
    last: dict[str, EventTime] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)

    @property
    def cart(self) -> set[str]:
        return {product for product, wish in self.wishes.items() if wish.in_cart}

    def tell(self) -> list[Said]:
        waiting = sorted(self.changes, key=lambda change: change.at)
        for act, following in zip_longest(self.story.acts, self.story.acts[1:]):
            while waiting and waiting[0].at <= act.at:
                self._change(waiting.pop(0))
            self._take(act)
            until = following.at if following is not None else FOREVER
            if act.at + SILENCE < until:
                while waiting and waiting[0].at <= act.at + SILENCE:
                    self._change(waiting.pop(0))
                self._silence(act.at + SILENCE)
        for change in waiting:
            self._change(change)
        return self.said

    def _take(self, act: Act) -> None:
        match act.kind:
            case "view":
                self.seen = True
                self._wish(act)
            case "add" | "remove":
                self._change_cart(act)
            case "checkout":
                self.checkout_at = act.at
            case "order":
                if self.abandoned is not None:
                    self._say("cart_recovered", act.at)
                self.wishes = {product: wish for product, wish in self.wishes.items() if not wish.in_cart}
                self.bought, self.abandoned, self.checkout_at = True, None, 0

    def _wish(self, act: Act) -> _Wish:
        product = act.product or ""
        wish = self.wishes.get(product)
        if wish is None or (not wish.in_cart and act.at >= wish.last_look + WANTED_FOR):
            wish = self.wishes[product] = _Wish(self.price.get(product, PRICE), act.at, gone=not self.there.get(product, True))
        wish.last_look = act.at
        return wish

    def _change_cart(self, act: Act) -> None:
        if not self.cart:
            self.cart_began = act.at
        self._wish(act).in_cart = act.kind == "add"
        self.version, self.abandoned = act.at, None
        if not self.cart:
            self.checkout_at = 0

    def _silence(self, at: EventTime) -> None:
        if self.cart:
            kind = "checkout_abandoned" if self.checkout_at >= self.cart_began else "cart_abandoned"
            known = {(kind, self.version), ("checkout_abandoned", self.version)} & self.told
            if not known and any(self.there.get(product, True) for product in self.cart):
                self.told.add((kind, self.version))
                self.abandoned = kind
                self._say(kind, at)
        elif self.seen and not self.bought:
            self._say("browse_abandoned", at)
        self.seen = self.bought = False

    def _change(self, change: Product) -> None:
        product, price, there = change.product_id, change.price or PRICE, change.available is not False
        self.price[product], self.there[product] = price, there
        wish = self.wishes.get(product)
        if wish is None or not (wish.in_cart or change.at < wish.last_look + WANTED_FOR):
            return
        back, wish.gone = there and wish.gone, not there
        kind = "back_in_stock" if back else "price_dropped" if there and price <= wish.price * DROP else None
        if kind is not None and self._may(kind, change.at):
            wish.price = price

    def _may(self, kind: str, at: EventTime) -> bool:
        """At most one of a kind a day."""
        if at - self.last.get(kind, -COOLDOWN) < COOLDOWN:
            return False
        self.last[kind] = at
        self._say(kind, at)
        return True

    def _say(self, kind: str, at: EventTime) -> None:
        self.said.append(Said(self.story.person.number, kind, at))


def promised(story: Story, catalogue: Mapping[str, Sequence[Product]]) -> list[Said]:
    """What must be said of the story's person, in order. The catalogue has every product's changes."""
    wanted = {act.product for act in story.acts if act.product is not None}
    return _Mind(story, [change for product in sorted(wanted) for change in catalogue.get(product, ())]).tell()


def catalogue_of(stories: Sequence[Story], draw: Random, begin: EventTime, end: EventTime) -> dict[str, list[Product]]:
    """Every product of the stories from before `begin` on; some become cheaper once, some are sold out and back a few hours later."""
    products = sorted({act.product for story in stories for act in story.acts if act.product is not None})
    return {product: _history(product, draw, begin, end) for product in products}


def _history(product: str, draw: Random, begin: EventTime, end: EventTime) -> list[Product]:
    said = [Product(product, begin - HOUR, PRICE, "EUR", True)]
    fate = draw.random()
    at = draw.randrange(begin, end)
    if fate < 0.25:
        said.append(Product(product, at, round(PRICE * draw.uniform(0.5, 1.0), 2), "EUR", True))
    elif fate < 0.45:
        said.append(Product(product, at, PRICE, "EUR", False))
        said.append(Product(product, at + draw.randrange(HOUR, 8 * HOUR), PRICE, "EUR", True))
    return said

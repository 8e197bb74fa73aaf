"""Changes of one cart in event order, whatever order they come in.

The usual change is the latest: it is applied to the present cart, and remembered until the watermark has passed it. One that comes out of
order finds its place among those; the cart is then worked out again from the settled one, and the later changes are told again
where they turn out otherwise than told: under the same ids, so whoever waits for the watermark ends up as if all had come in order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import NamedTuple

import msgspec

from cartstream.events.clicks import Action
from cartstream.events.records import Cart
from cartstream.events.times import EventTime
from cartstream.sessions.basket import RECENT_LIMIT, Basket, Change, Waiting, packed, unpacked
from cartstream.sessions.cart import apply, put, snapshot

_ID_ENDS: dict[int, str] = {Action.CHECKOUT: "checkout_started", Action.ORDER: "order_placed"}


class Told(msgspec.Struct, gc=False):
    """An activity about a change: its kind, and the cart after it."""

    change: Change
    kind: str
    cart: Cart | None

    @property
    def id(self) -> str:
        """Of the change, whatever is told of it: what is told later replaces what was told before."""
        return f"{self.change.message_id}:{_ID_ENDS.get(self.change.action, 'cart')}"


class Outcome(NamedTuple):
    """What became of one change by itself, and the cart after it."""

    kind: str | None
    cart: Cart | None


_NOTHING = Outcome(None, None)


def take(basket: Basket, waiting: Waiting, change: Change, watermark: EventTime) -> list[Told]:
    """Bring a change into the cart. What to tell: it, and those after it that turn out otherwise than told before.

    A late one, which the watermark has passed, is applied to the settled cart: that order is the order of arrival.
    """
    recent = waiting.recent
    if recent and recent[0].at <= watermark:
        _settle(waiting, watermark)
        recent = waiting.recent
    late = change.at <= watermark
    if recent and (late or change.key <= recent[-1].key):
        return _correct(basket, waiting, change, late)
    kind = apply(basket, change)
    if not late:
        recent.append(change)
        _limit(waiting)
    return [Told(change, kind, snapshot(basket))] if kind is not None else []


def cart_at(basket: Basket, waiting: Waiting, at: EventTime) -> Cart | None:
    """The cart as it was at that time, as far as is known."""
    recent = waiting.recent
    if not recent or recent[-1].at <= at:
        return snapshot(basket)
    cart = unpacked(waiting.settled)
    for change in recent[: bisect_right(recent, at, key=attrgetter("at"))]:
        apply(cart, change)
    return snapshot(cart)


def _settle(waiting: Waiting, watermark: EventTime) -> None:
    """Nothing can come before what the watermark has passed."""
    passed = bisect_right(waiting.recent, watermark, key=attrgetter("at"))
    _settle_first(waiting, passed)


def _limit(waiting: Waiting) -> None:
    """So many changes while the watermark waits: the first of them are taken for settled."""
    if len(waiting.recent) > RECENT_LIMIT:
        _settle_first(waiting, len(waiting.recent) - RECENT_LIMIT)


def _settle_first(waiting: Waiting, count: int) -> None:
    cart = unpacked(waiting.settled)
    for change in waiting.recent[:count]:
        apply(cart, change)
    waiting.recent, waiting.settled = waiting.recent[count:], packed(cart)


def _correct(basket: Basket, waiting: Waiting, change: Change, late: bool) -> list[Told]:
    recent = waiting.recent
    place = 0 if late else bisect_left(recent, change.key, key=attrgetter("key"))
    if not late and recent[place].key == change.key:
        return []
    before = [_NOTHING, *_fold(unpacked(waiting.settled), recent)[place:]]
    cart = unpacked(waiting.settled)
    if late:
        first = _fold(cart, [change])
        waiting.settled = packed(cart)
        told = _to_tell([change, *recent], before, first + _fold(cart, recent))
    else:
        recent.insert(place, change)
        told = _to_tell(recent[place:], before, _fold(cart, recent)[place:])
    put(basket, cart)
    _limit(waiting)
    return told


def _fold(cart: Basket, changes: list[Change]) -> list[Outcome]:
    return [Outcome(apply(cart, change), snapshot(cart)) for change in changes]


def _to_tell(changes: list[Change], before: list[Outcome], after: list[Outcome]) -> list[Told]:
    """From the first that is told on all are, so that the last one told has the present cart."""
    told: list[Told] = []
    for change, was, now in zip(changes, before, after, strict=True):
        if now.kind is not None and (told or now != was):
            told.append(Told(change, now.kind, now.cart))
        elif now.kind is None and was.kind is not None:
            told.append(Told(change, "retracted", None))
    return told

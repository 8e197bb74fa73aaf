"""Changes of one cart in event order, whatever order they come in.

The usual change is the latest: it is applied to the present cart, and remembered until the watermark has passed it. One that comes out of
order finds its place among those; the cart is then worked out again from the settled one, and the later changes are told again
where they turn out otherwise than told: under the same ids, so whoever waits for the watermark ends up as if all had come in order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import NamedTuple

from cartstream.events.clicks import Action
from cartstream.events.records import Cart
from cartstream.events.times import EventTime
from cartstream.sessions.cart import apply, held, put, snapshot
from cartstream.sessions.state import RECENT_LIMIT, Change, CustomerState, Held

_ID_ENDS: dict[int, str] = {Action.CHECKOUT: "checkout_started", Action.ORDER: "order_placed"}


class Told(NamedTuple):
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


def take(state: CustomerState, change: Change, watermark: EventTime) -> list[Told]:
    """Bring a change into a cart that is settled up to the watermark. What to tell: it, and those after it that turn out otherwise
    than told before. A late one, which the watermark has passed, is applied to the settled cart: that order is the order of arrival.
    """
    recent = state.recent
    if change.at <= watermark:
        if recent:
            return _correct(state, change, 0, late=True)
    elif not recent:
        state.settled = held(state)
        recent.append(change)
    elif change.key > recent[-1].key:
        recent.append(change)
    else:
        return _correct(state, change, bisect_left(recent, change.key, key=attrgetter("key")), late=False)
    kind = apply(state, change)
    _limit(state)
    return [Told(change, kind, snapshot(state))] if kind is not None else []


def settle(state: CustomerState, watermark: EventTime) -> None:
    """Nothing can come before what the watermark has passed."""
    recent = state.recent
    if not recent or recent[0].at > watermark:
        return
    if recent[-1].at <= watermark:
        state.recent, state.settled = [], None
        return
    passed = bisect_right(recent, watermark, key=attrgetter("at"))
    for change in recent[:passed]:
        apply(_settled(state), change)
    state.recent = recent[passed:]


def forget(state: CustomerState) -> None:
    """Take the cart as it is now for settled."""
    state.recent, state.settled = [], None


def cart_at(state: CustomerState, at: EventTime) -> Cart | None:
    """The cart as it was at that time, as far as is known."""
    if not state.recent or state.recent[-1].at <= at:
        return snapshot(state)
    cart = held(_settled(state))
    for change in state.recent[: bisect_right(state.recent, at, key=attrgetter("at"))]:
        apply(cart, change)
    return snapshot(cart)


def _correct(state: CustomerState, change: Change, place: int, *, late: bool) -> list[Told]:
    recent = state.recent
    if not late and recent[place].key == change.key:
        return []
    before = _fold(held(_settled(state)), recent)
    if late:
        first = Outcome(apply(_settled(state), change), snapshot(_settled(state)))
    else:
        recent.insert(place, change)
    cart = held(_settled(state))
    after = _fold(cart, recent)
    put(state, cart)
    if late:
        return _to_tell([change, *recent], [_NOTHING, *before], [first, *after])
    told = _to_tell(recent[place:], [_NOTHING, *before[place:]], after[place:])
    _limit(state)
    return told


def _fold(cart: Held, changes: list[Change]) -> list[Outcome]:
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


def _limit(state: CustomerState) -> None:
    """So many changes while the watermark waits: the first of them is taken for settled."""
    while len(state.recent) > RECENT_LIMIT:
        apply(_settled(state), state.recent.pop(0))


def _settled(state: CustomerState) -> Held:
    assert state.settled is not None, "there are recent changes, so there is a cart before them"
    return state.settled

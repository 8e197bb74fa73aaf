"""Two customers turned out to be one: join what detection knows of both. Safe to repeat, and the same in either direction."""

from __future__ import annotations

from cartstream.detection.abandonment import BROWSE, joined_visit
from cartstream.detection.state import (
    ENDED_LIMIT,
    LATCH_LIMIT,
    SIGNALLED_LIMIT,
    Abandonment,
    DetectionState,
    OpenSession,
    Signalled,
    Visit,
    order_key,
)
from cartstream.detection.wants import joined
from cartstream.events.records import Activity
from cartstream.events.times import EventTime


def join(mine: DetectionState, other: DetectionState, merged_at: EventTime) -> DetectionState:
    """The survivor's state: both waiting lists, the later cart, the later marks; nothing that either signalled is signalled again."""
    cart_of = max(mine, other, key=lambda state: (state.cart_version, state.cart_at, state.began_at, repr(state.cart)))
    order_mark, cart = max(mine.order_mark, other.order_mark), cart_of.cart
    left = _abandonment(mine.abandonment, other.abandonment, order_mark)
    if order_mark > max(cart_of.cart_at, cart_of.cart_version):
        cart = None
    ended = sorted({*mine.ended, *other.ended})[-2 * ENDED_LIMIT :]
    return DetectionState(
        customer_id=mine.customer_id,
        pending=_pending(mine.pending, other.pending),
        open=_open(mine.open, other.open, ended),
        ended=ended,
        visit=_visit(mine.visit, other.visit),
        last_activity=max(mine.last_activity, other.last_activity),
        applied_at=max(mine.applied_at, other.applied_at),
        judged=0,
        cart=cart,
        cart_version=cart_of.cart_version,
        cart_at=max(mine.cart_at, other.cart_at),
        began_at=cart_of.began_at,
        checkout_at=max(mine.checkout_at, other.checkout_at),
        order_mark=order_mark,
        joined_at=max(mine.joined_at, other.joined_at, merged_at),
        abandonment=left,
        signalled=sorted({*mine.signalled, *other.signalled}, key=_newest_cart_last)[-2 * SIGNALLED_LIMIT :],
        latches=sorted({*mine.latches, *other.latches}, key=lambda latch: (latch.at, latch.session_id))[-LATCH_LIMIT:],
        signalled_at={kind: max(mine.signalled_at.get(kind, 0), other.signalled_at.get(kind, 0)) for kind in _kinds(mine, other)},
        wants=joined(mine.wants, other.wants),
        told=sorted({*mine.told, *other.told}, key=lambda told: (told.at, told.product_id)),
        parcels=sorted({*mine.parcels, *other.parcels}, key=lambda parcel: (parcel.at, parcel.loser)),
    )


def _kinds(mine: DetectionState, other: DetectionState) -> list[str]:
    return sorted({*mine.signalled_at, *other.signalled_at})


def _pending(mine: list[Activity], other: list[Activity]) -> list[Activity]:
    """Of two tellings of one activity the later counts, whichever side heard it."""
    both = {activity.id: activity for activity in mine}
    for activity in other:
        known = both.get(activity.id)
        if known is None or (order_key(activity), repr(activity)) > (order_key(known), repr(known)):
            both[activity.id] = activity
    return sorted(both.values(), key=order_key)


def _newest_cart_last(known: Signalled) -> tuple[bool, str, str]:
    """A cart is judged again after a merge: what was said of the newest is the last to be forgotten."""
    return known.kind != BROWSE, known.episode, known.kind


def _open(mine: dict[str, OpenSession], other: dict[str, OpenSession], ended: list[str]) -> dict[str, OpenSession]:
    """A device's later session counts; one whose end overtook the handover is over."""
    both = dict(mine)
    for device_id, session in other.items():
        known = both.get(device_id)
        if known is None or (session.started_at, session.session_id) > (known.started_at, known.session_id):
            both[device_id] = session
    return {device_id: both[device_id] for device_id in sorted(both) if both[device_id].session_id not in ended}


def _visit(mine: Visit | None, other: Visit | None) -> Visit | None:
    if mine is None or other is None or mine == other:
        return mine or other
    return joined_visit(mine, other)


def _abandonment(mine: Abandonment | None, other: Abandonment | None, order_mark: EventTime) -> Abandonment | None:
    """What no order has ended: a cart before browsing, then the later one."""
    both = [left for left in (mine, other) if left is not None and left.at >= order_mark]
    if not both:
        return None
    chosen = max(both, key=lambda left: (left.kind != BROWSE, left.at, left.kind, left.episode))
    returned = any(left.returned for left in both)
    return Abandonment(chosen.kind, chosen.episode, chosen.at, returned)

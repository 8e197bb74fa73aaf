"""States as they are stored: in today's layout, or in one of those before, which are still read."""

from __future__ import annotations

import msgspec

from cartstream.events.read_model import Guard
from cartstream.events.times import EventTime
from cartstream.sessions.basket import NOTHING, SEEN_LIMIT, Basket, Change, Held, Line, Waiting, packed
from cartstream.sessions.state import LAYOUT, CustomerState, Visit


class FirstVisit(msgspec.Struct, array_like=True):
    device_id: str
    session_id: str
    started_at: EventTime
    last_at: EventTime
    events: int = 0
    orders: int = 0
    page_views: int = 0
    viewed: dict[str, EventTime] = {}


class FirstState(msgspec.Struct, array_like=True):
    """`seen` had digests of all events at first, of changes later."""

    customer_id: str
    visits: list[FirstVisit] = []
    lines: dict[str, Line] = {}
    removed: dict[str, EventTime] = {}
    cleared_at: EventTime = 0
    version: EventTime = 0
    currency: str | None = None
    order_mark: EventTime = 0
    checkout_at: EventTime = 0
    last_activity: EventTime = 0
    seen: bytes = b""
    merged_into: str | None = None
    browsed: bytes = b""
    recent: list[Change] = []
    settled: Held | None = None


class SecondState(msgspec.Struct, array_like=True, tag=2):
    """The guard had a key of its own, and views their times, not those since the visit began."""

    customer_id: str
    visits: list[Visit] = []
    last_activity: EventTime = 0
    browsed: bytes = b""
    merged_into: str | None = None
    unsettled: EventTime = 0
    cart: msgspec.Raw = NOTHING
    waiting: msgspec.Raw = NOTHING


encode_state = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CustomerState).decode
_decode_first = msgspec.msgpack.Decoder(FirstState).decode
_decode_second = msgspec.msgpack.Decoder(SecondState).decode


def decode_state(raw: bytes) -> CustomerState:
    """A layout says its number where the first one began with the customer's id."""
    if raw[1] == LAYOUT:
        return _decode(raw)
    return _guarded(_decode_second(raw)) if raw[1] == 2 else renewed(_decode_first(raw))


def _guarded(second: SecondState) -> CustomerState:
    state = CustomerState(
        second.customer_id,
        visits=[_with_views_since(visit) for visit in second.visits],
        last_activity=second.last_activity,
        browsed=second.browsed,
        merged_into=second.merged_into,
        unsettled=second.unsettled,
        cart=second.cart,
        waiting=second.waiting,
    )
    return _with_guard(state)


def _with_views_since(visit: Visit) -> Visit:
    if not visit.views:
        return visit
    started_at = visit.started_at
    visit.started_at = 0
    views = visit.seen()
    visit.started_at = started_at
    visit.keep(views)
    return visit


def _with_guard(state: CustomerState) -> CustomerState:
    basket, _ = state.open()
    guard = Guard(basket.order_mark, basket.version, not basket.lines, state.merged_into)
    state.guard = guard if guard != Guard() else None
    return state


def renewed(first: FirstState) -> CustomerState:
    visits = [_visit(visit) for visit in first.visits]
    state = CustomerState(first.customer_id, None, visits, first.last_activity, first.browsed, first.merged_into)
    basket = _basket(first)
    basket.seen = first.seen[-SEEN_LIMIT:]
    if basket != Basket():
        state.put(basket, Waiting(first.recent, packed(_basket(first.settled)) if first.settled is not None else NOTHING))
    return _with_guard(state)


def _basket(first: FirstState | Held) -> Basket:
    return Basket(first.lines, first.removed, first.cleared_at, first.version, first.currency, first.order_mark, first.checkout_at)


def _visit(first: FirstVisit) -> Visit:
    visit = Visit(first.device_id, first.session_id, first.started_at, first.last_at, first.events, first.orders, first.page_views)
    for product_id, at in first.viewed.items():
        visit.view(product_id, at)
    return visit

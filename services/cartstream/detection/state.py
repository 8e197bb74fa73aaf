"""What detection keeps of one customer."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from cartstream.events.records import Activity, Cart, Item, Signal, make_id
from cartstream.events.times import EventTime

NEVER: EventTime = 2**62
PENDING_LIMIT = 512
OPEN_LIMIT = 64
ENDED_LIMIT = 8
SHORT_ID = 16
VIEWED_LIMIT = 20
SIGNALLED_LIMIT = 16
LATCH_LIMIT = 16

# At the same millisecond a visit begins before it is filled, and ends last.
_RANKS = {"session_started": 0, "cart_updated": 1, "checkout_started": 2, "cart_emptied": 3, "order_placed": 4, "session_ended": 5}


class OpenSession(msgspec.Struct, array_like=True):
    """`session_id` as `short` has it."""

    session_id: str
    started_at: EventTime


class Visit(msgspec.Struct, array_like=True):
    """The sessions that ended since the shopper was last judged, on all devices together."""

    session_id: str
    started_at: EventTime
    ended_at: EventTime
    orders: int = 0
    """More than none is all that matters."""
    viewed: list[str] = []


class Abandonment(msgspec.Struct, array_like=True):
    """What journeys believe to be abandoned now. `returned`: the shopper is back, and has changed nothing so far."""

    kind: str
    episode: str
    at: EventTime
    returned: bool = False


class Signalled(msgspec.Struct, array_like=True, frozen=True):
    """A kind of abandonment is signalled once an episode."""

    kind: str
    episode: str


class Latch(msgspec.Struct, array_like=True, frozen=True):
    """An exit intent is signalled once a session. `session_id` as `short` has it."""

    session_id: str
    at: EventTime


class KeptItem(msgspec.Struct, array_like=True):
    product_id: str
    quantity: int
    price: float | None
    name: str | None


class KeptCart(msgspec.Struct, array_like=True):
    """A cart as it is stored: half the bytes of one with the names of its fields."""

    version: EventTime
    items: list[KeptItem]
    value: float
    currency: str | None


class Parcel(msgspec.Struct, array_like=True, frozen=True):
    """What was known of a customer who turned out to be this one, at the time of the login that told so."""

    at: EventTime
    loser: str
    state: bytes


class DetectionState(msgspec.Struct, array_like=True):
    """What waits for the watermark (`pending`, by time), and what all that the watermark has passed adds up to.

    `cart_version` is the largest seen, `cart_at` when the cart last changed, `began_at` when it ceased to be empty. `judged` is the
    last activity after which the shopper was found idle, `joined_at` when another customer's cart or state came in. `ended` are the
    sessions that ended last, as `short` has them. `parcels` wait for the watermark, too, by time. A customer that was merged keeps only
    `merged_into`. Only while it is stored is the cart in `kept_cart`.
    """

    customer_id: str
    pending: list[Activity] = []
    open: dict[str, OpenSession] = {}
    ended: list[str] = []
    visit: Visit | None = None
    last_activity: EventTime = 0
    applied_at: EventTime = 0
    judged: EventTime = 0
    cart: Cart | None = None
    cart_version: EventTime = 0
    cart_at: EventTime = 0
    began_at: EventTime = 0
    checkout_at: EventTime = 0
    order_mark: EventTime = 0
    abandonment: Abandonment | None = None
    signalled: list[Signalled] = []
    latches: list[Latch] = []
    merged_into: str | None = None
    joined_at: EventTime = 0
    kept_cart: KeptCart | None = None
    parcels: list[Parcel] = []


OrderKey: TypeAlias = tuple[EventTime, int, EventTime, str]


def order_key(activity: Activity) -> OrderKey:
    """Event order. Cart versions only grow, so of two changes in one millisecond the later version is the later change. An empty
    cart has none to tell: nothing of the kind can follow it."""
    version = activity.cart.version if activity.cart is not None else NEVER
    return (activity.at, _RANKS.get(activity.kind, 1), version, activity.id)


class Found(msgspec.Struct):
    """What a step brings to light."""

    signals: list[Signal] = []
    outcomes: list[tuple[str, str]] = []

    def signal(self, signal: Signal) -> None:
        self.signals.append(signal)
        self.outcomes.append(("signal", signal.kind))


def signal_id(kind: str, customer_id: str, *cause: object) -> str:
    return make_id("signal", kind, customer_id, *cause)


def short(session_id: str) -> str:
    """As much of a session's id as tells it from the customer's others."""
    return session_id[:SHORT_ID]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DetectionState).decode


def encode_state(state: DetectionState) -> bytes:
    cart = state.cart
    if cart is None:
        return _encode(state)
    items = [KeptItem(item.product_id, item.quantity, item.price, item.name) for item in cart.items]
    kept = KeptCart(cart.version, items, cart.value, cart.currency)
    return _encode(msgspec.structs.replace(state, cart=None, kept_cart=kept))


def decode_state(raw: bytes) -> DetectionState:
    """Also what was stored before `kept_cart` and `short` were."""
    state = _decode(raw)
    kept = state.kept_cart
    if kept is not None:
        items = [Item(item.product_id, item.quantity, item.price, item.name) for item in kept.items]
        state.cart, state.kept_cart = Cart(kept.version, items, kept.value, kept.currency), None
    if any(len(id) > SHORT_ID for id in _ids(state)):
        _shorten(state)
    return state


def _ids(state: DetectionState) -> list[str]:
    """One of each kind is enough: what one release stored is all short or all long."""
    return [*state.ended[:1], *(latch.session_id for latch in state.latches[:1]), *(known.session_id for known in state.open.values())]


def _shorten(state: DetectionState) -> None:
    state.ended = [short(id) for id in state.ended][-ENDED_LIMIT:]
    state.latches = [Latch(short(latch.session_id), latch.at) for latch in state.latches]
    state.open = {device_id: OpenSession(short(known.session_id), known.started_at) for device_id, known in state.open.items()}


def copy_of(state: DetectionState) -> DetectionState:
    return decode_state(encode_state(state))

"""What detection keeps of one customer."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from cartstream.detection.notes import Change
from cartstream.events.records import Activity, Cart, Item, Signal, make_id
from cartstream.events.times import EventTime
from cartstream.runtime.packed_keys import packed, unpacked
from cartstream.runtime.stage import Output

NEVER: EventTime = 2**62
PENDING_LIMIT = 512
OPEN_LIMIT = 64
ENDED_LIMIT = 8
SHORT_ID = 16
VIEWED_LIMIT = 20
SIGNALLED_LIMIT = 16
LATCH_LIMIT = 16

# At the same millisecond a visit begins before it is filled, and ends last. What a merge made of two carts (on no device) has the time of
# the last thing known of either, and comes after it: an order, say.
_RANKS = {"session_started": 0, "cart_updated": 1, "checkout_started": 2, "cart_emptied": 3, "order_placed": 4, "session_ended": 6}
_JOINED = 5


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
    """`price` is in hundredths if it is whole, else as it is."""

    product_id: str
    quantity: int
    price: int | float | None
    name: str | None


class KeptCart(msgspec.Struct, array_like=True):
    """A cart as it is stored: a third of the bytes of one with the names of its fields. `value` is as a price; no `version` is the
    state's `cart_version`."""

    version: EventTime | None
    items: list[KeptItem]
    value: int | float
    currency: str | None


class KeptSession(msgspec.Struct, array_like=True):
    """An open session as it is stored: ids in half their letters where they can be."""

    device: bytes
    session: bytes
    started_at: EventTime


class Parcel(msgspec.Struct, array_like=True, frozen=True):
    """What was known of a customer who turned out to be this one, at the time of the login that told so."""

    at: EventTime
    loser: str
    state: bytes


class Want(msgspec.Struct, array_like=True):
    """A product that the shopper wants since `since`, to be told of changes after it; bought at `until` (0: not bought).

    `viewed_at` is the last look, `asked` until when the product's watchers have this shopper, `waiting` while that has not been answered,
    `heard` the latest change heard of. `price` is what the shopper knows; `gone`: out of stock.
    """

    product_id: str
    since: EventTime
    until: EventTime = 0
    in_cart: bool = False
    viewed_at: EventTime = 0
    asked: EventTime = 0
    waiting: bool = False
    heard: EventTime = 0
    price: float | None = None
    currency: str | None = None
    gone: bool = False


class Told(msgspec.Struct, array_like=True, frozen=True):
    """A product's change that waits for the watermark."""

    at: EventTime
    product_id: str
    change: Change


class DetectionState(msgspec.Struct, array_like=True):
    """What waits for the watermark (`pending`, by time), and what all that the watermark has passed adds up to.

    `cart_version` is the largest seen, `cart_at` when the cart last changed, `began_at` when it ceased to be empty. `judged` is the
    last activity after which the shopper was found idle, `joined_at` when another customer's cart or state came in. `ended` are the
    sessions that ended last, as `short` has them. `parcels` wait for the watermark, too, by time. A customer that was merged keeps only
    `merged_into`.

    `signalled_at` has the last signal of each kind that has a cooldown. `wants` and `told` (by time) are empty unless products are watched.

    Only while it is stored is the cart in `kept_cart` and `open` in `kept_open`, and if it is `relative`, `applied_at` and the cart's
    times, where they are not after `last_activity`, are the (negative) distance to 1 ms after it.
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
    kept_open: list[KeptSession] = []
    relative: bool = False
    signalled_at: dict[str, EventTime] = {}
    wants: list[Want] = []
    told: list[Told] = []


OrderKey: TypeAlias = tuple[EventTime, int, EventTime, str]


def order_key(activity: Activity) -> OrderKey:
    """Event order. Cart versions only grow, so of two changes in one millisecond the later version is the later change. An empty
    cart has none to tell: nothing of the kind can follow it."""
    version = activity.cart.version if activity.cart is not None else NEVER
    joined = activity.device_id is None and activity.kind in ("cart_updated", "cart_emptied")
    rank = _JOINED if joined else _RANKS.get(activity.kind, 1)
    return (activity.at, rank, version, activity.id)


class Found(msgspec.Struct):
    """What a step brings to light."""

    signals: list[Signal] = []
    outcomes: list[tuple[str, str]] = []
    notes: list[Output] = []

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
    cart, opened = state.cart, state.open
    kept = replace(
        state,
        cart=None,
        kept_cart=None if cart is None else _kept_cart(cart, state.cart_version),
        open={},
        kept_open=[KeptSession(packed(device_id), packed(known.session_id), known.started_at) for device_id, known in opened.items()],
    )
    _make_relative(kept)
    return _encode(kept)


def decode_state(raw: bytes) -> DetectionState:
    """Also what was stored before `kept_cart`, `short` and `relative` were."""
    state = _decode(raw)
    if state.relative:
        _make_absolute(state)
    if state.kept_open:
        state.open = {unpacked(kept.device): OpenSession(unpacked(kept.session), kept.started_at) for kept in state.kept_open}
        state.kept_open = []
    elif (state.open or state.ended or state.latches) and any(len(id) > SHORT_ID for id in _ids(state)):
        _shorten(state)
    if state.kept_cart is not None:
        state.cart, state.kept_cart = _cart(state.kept_cart, state.cart_version), None
    return state


def _make_relative(state: DetectionState) -> None:
    """One that is stored: by arithmetic in place, since this is half of what encoding costs."""
    base, applied_at, version, cart_at, began_at = (
        state.last_activity,
        state.applied_at,
        state.cart_version,
        state.cart_at,
        state.began_at,
    )
    if base < 0 or applied_at < 0 or version < 0 or cart_at < 0 or began_at < 0:
        return
    after = base + 1
    if 0 < applied_at <= base:
        state.applied_at = applied_at - after
    if 0 < version <= base:
        state.cart_version = version - after
    if 0 < cart_at <= base:
        state.cart_at = cart_at - after
    if 0 < began_at <= base:
        state.began_at = began_at - after
    state.relative = True


def _make_absolute(state: DetectionState) -> None:
    after = state.last_activity + 1
    if state.applied_at < 0:
        state.applied_at += after
    if state.cart_version < 0:
        state.cart_version += after
    if state.cart_at < 0:
        state.cart_at += after
    if state.began_at < 0:
        state.began_at += after
    state.relative = False


def _kept_cart(cart: Cart, version: EventTime) -> KeptCart:
    items = [KeptItem(item.product_id, item.quantity, _whole(item.price), item.name) for item in cart.items]
    value = _whole(cart.value)
    return KeptCart(None if cart.version == version else cart.version, items, 0 if value is None else value, cart.currency)


def _cart(kept: KeptCart, version: EventTime) -> Cart:
    items = [
        Item(item.product_id, item.quantity, price / 100 if (price := item.price).__class__ is int else price, item.name)
        for item in kept.items
    ]
    value = kept.value / 100 if kept.value.__class__ is int else kept.value
    return Cart(version if kept.version is None else kept.version, items, value, kept.currency)


def _whole(amount: float | None) -> int | float | None:
    """In hundredths, if that is exactly the amount."""
    if amount is None or not -1e12 < amount < 1e12:
        return amount
    hundredths = int(amount * 100 + 0.5)
    return hundredths if hundredths / 100 == amount else amount


def _ids(state: DetectionState) -> list[str]:
    """One of each kind is enough: what one release stored is all short or all long."""
    return [*state.ended[:1], *(latch.session_id for latch in state.latches[:1]), *(known.session_id for known in state.open.values())]


def _shorten(state: DetectionState) -> None:
    state.ended = [short(id) for id in state.ended][-ENDED_LIMIT:]
    state.latches = [Latch(short(latch.session_id), latch.at) for latch in state.latches]
    state.open = {device_id: OpenSession(short(known.session_id), known.started_at) for device_id, known in state.open.items()}


def copy_of(state: DetectionState) -> DetectionState:
    return decode_state(encode_state(state))

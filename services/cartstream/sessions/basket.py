"""A customer's cart with what lets its changes be in event order. Both stay packed in the customer's state until a change comes."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import msgspec

from cartstream.events.records import Order
from cartstream.events.times import EventTime

SEEN_BYTES = 8
SEEN_LIMIT = 32 * SEEN_BYTES
ORDERED_LIMIT = 8 * SEEN_BYTES
MARKS_LIMIT = 100
LINES_LIMIT = 200
RECENT_LIMIT = 32


class Line(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A product in the cart; `at` is its latest change, `currency` that of its price if it is not the cart's."""

    quantity: int
    price: float | None
    name: str | None
    at: EventTime
    currency: str | None = None


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A product as an event names it. `quantity` None: the event says none."""

    product_id: str
    quantity: int | None = None
    price: float | None = None
    name: str | None = None


ChangeKey: TypeAlias = tuple[EventTime, int, str]


class Change(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What an event does to a cart. At the same millisecond adds come before removals, snapshots, checkouts and orders.

    `entries` None: the event names no products. `device_id` None: it belongs to no session.
    """

    at: EventTime
    action: int
    message_id: str
    device_id: str | None = None
    entries: list[Entry] | None = None
    currency: str | None = None
    order: Order | None = None

    @property
    def key(self) -> ChangeKey:
        """Event order."""
        return (self.at, self.action, self.message_id)


class Held(msgspec.Struct, array_like=True, gc=False):
    """A cart, and the marks that keep late events from undoing later ones.

    `removed` has the time of each product's last removal: an older add cannot bring it back. `cleared_at` is the same for the whole cart.
    `currency` is that of the latest price.
    """

    lines: dict[str, Line] = {}
    removed: dict[str, EventTime] = {}
    cleared_at: EventTime = 0
    version: EventTime = 0
    currency: str | None = None
    order_mark: EventTime = 0
    checkout_at: EventTime = 0


class Basket(Held, array_like=True, gc=False):
    """The cart with all its changes, in event order.

    `seen` has digests of the last changes' message ids, oldest first: a change that is wrongly taken for a repetition would be missing
    from a cart, so they have eight bytes, and it happens once in 10^17 changes. `ordered` has those of the last order ids.
    """

    seen: bytes = b""
    ordered: bytes | None = None

    def has_ordered(self, order: Order | None) -> bool:
        """True for an order whose id is remembered."""
        return (
            order is not None and order.order_id is not None and self.ordered is not None and holds(self.ordered, _digest(order.order_id))
        )

    def remember_order(self, order: Order | None) -> None:
        if order is not None and order.order_id is not None and not self.has_ordered(order):
            self.ordered = ((self.ordered or b"") + _digest(order.order_id))[-ORDERED_LIMIT:]

    def first_time(self, message_id: str) -> bool:
        """False for a message id that is remembered."""
        digest = _digest(message_id)
        if holds(self.seen, digest):
            return False
        self.seen = (self.seen + digest)[-SEEN_LIMIT:]
        return True


class Waiting(msgspec.Struct, array_like=True, gc=False):
    """The changes that the watermark has not passed, in event order, and the packed `Basket` before them: so one that comes out of order
    finds its place."""

    recent: list[Change]
    settled: msgspec.Raw


pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Basket).decode
NOTHING = msgspec.Raw(pack(None))


def packed(basket: Basket) -> msgspec.Raw:
    return msgspec.Raw(pack(basket))


def unpacked(raw: msgspec.Raw) -> Basket:
    return Basket() if raw == NOTHING else _unpack(raw)


def _digest(id: str) -> bytes:
    return hashlib.blake2b(id.encode(), digest_size=SEEN_BYTES).digest()


def holds(digests: bytes, digest: bytes) -> bool:
    """Whether one of the digests, all as long as this one, is this one."""
    at = digests.find(digest)
    while at >= 0:
        if at % len(digest) == 0:
            return True
        at = digests.find(digest, at + 1)
    return False


def both(other: bytes, mine: bytes, limit: int) -> bytes:
    """The newest digests of each."""
    return other[-limit // 2 :] + mine[-limit // 2 :] if other else mine

"""What sessions keep of one customer.

Each event unpacks the state, changes it and packs it again, so what only some events need stays packed: the cart, and the products
looked at. No struct refers back to one that holds it, so the garbage collector need not look at any (`gc=False`).
"""

from __future__ import annotations

from zlib import crc32

import msgspec

from cartstream.events.read_model import GUARDED, Guard
from cartstream.events.records import Session, make_id
from cartstream.events.times import EventTime
from cartstream.sessions.basket import NOTHING, Basket, Waiting, holds, pack, packed, unpacked

LAYOUT = GUARDED
BROWSED_BYTES = 4
BROWSED_LIMIT = 64 * BROWSED_BYTES
VIEWED_LIMIT = 20
VIEWS_LIMIT = 2 * VIEWED_LIMIT

_unpack_views = msgspec.msgpack.Decoder(list[tuple[str, EventTime]]).decode
_unpack_waiting = msgspec.msgpack.Decoder(Waiting).decode


class Visit(msgspec.Struct, array_like=True, gc=False):
    """A session that event time has not closed yet. A device may have two, when events of a later one came early.

    `session_id` is empty as long as device and start give it: see `id`. `viewed` are so many `views`, each packed by itself: the product,
    and how long after the start.
    """

    device_id: str
    session_id: str
    started_at: EventTime
    last_at: EventTime
    events: int = 0
    orders: int = 0
    page_views: int = 0
    views: int = 0
    viewed: bytes = b""

    @property
    def id(self) -> str:
        return self.session_id or make_id("session", self.device_id, self.started_at)

    def begin_at(self, at: EventTime, watermark: EventTime) -> None:
        """An earlier start. The id then does not depend on who came first; but a late event changes no id that was acted upon."""
        self.session_id = "" if at > watermark else self.id
        views = self.seen() if self.views else []
        self.started_at = at
        self.keep(views)

    def view(self, product_id: str, at: EventTime) -> None:
        self.viewed += pack((product_id, at - self.started_at))
        self.views += 1
        if self.views > VIEWS_LIMIT:
            self.keep(self.products())

    def absorb(self, other: Visit) -> None:
        """Two sessions are one after all."""
        self.last_at = max(self.last_at, other.last_at)
        self.events += other.events
        self.orders += other.orders
        self.page_views += other.page_views
        self.keep([*self.seen(), *other.seen()])
        if self.views > VIEWS_LIMIT:
            self.keep(self.products())

    def products(self) -> list[tuple[str, EventTime]]:
        """The last that were looked at and when, newest last; whatever order the views came in."""
        newest: dict[str, EventTime] = {}
        for product_id, at in self.seen():
            newest[product_id] = max(at, newest.get(product_id, at))
        return sorted(newest.items(), key=lambda view: (view[1], view[0]))[-VIEWED_LIMIT:]

    def facts(self) -> Session:
        products = [product_id for product_id, _ in self.products()] if self.views else []
        return Session(self.id, self.device_id, self.started_at, self.last_at, self.events, self.orders, self.page_views, products)

    def seen(self) -> list[tuple[str, EventTime]]:
        """Products and when, in the order they came."""
        array_header, start = b"\xdd" + self.views.to_bytes(4, "big"), self.started_at
        return [(product_id, start + after) for product_id, after in _unpack_views(array_header + self.viewed)]

    def keep(self, views: list[tuple[str, EventTime]]) -> None:
        start = self.started_at
        self.views, self.viewed = len(views), b"".join([pack((product_id, at - start)) for product_id, at in views])


class CustomerState(msgspec.Struct, array_like=True, tag=LAYOUT, gc=False):
    """Sessions that are not over, and one cart. A customer that was merged keeps only `merged_into`, and a guard that says so.

    It begins as `read_model.Guarded`: senders read `guard`, which says what has been told of the cart.
    `cart` is a packed `Basket` and `waiting` a packed `Waiting`, or both are nil; `unsettled` is when the last change that waits happened.
    `browsed` has digests of the message ids of all other events since the customer has been there, oldest first. One in 67 million is
    wrongly taken for a repetition and missing from a count, so they have four bytes.
    """

    customer_id: str
    guard: Guard | None = None
    visits: list[Visit] = []
    last_activity: EventTime = 0
    browsed: bytes = b""
    merged_into: str | None = None
    unsettled: EventTime = 0
    cart: msgspec.Raw = NOTHING
    waiting: msgspec.Raw = NOTHING

    def open(self) -> tuple[Basket, Waiting]:
        """To look at. Who changes them, gives them back to `put`."""
        waiting = Waiting([], self.cart) if self.waiting == NOTHING else _unpack_waiting(self.waiting)
        return unpacked(self.cart), waiting

    def put(self, basket: Basket, waiting: Waiting) -> None:
        self.cart = packed(basket)
        if waiting.recent:
            self.waiting, self.unsettled = msgspec.Raw(pack(waiting)), waiting.recent[-1].at
        else:
            self.settle()

    def settle(self) -> None:
        """Nothing that could change the order of what waits can come any more."""
        self.waiting, self.unsettled = NOTHING, 0

    def first_time(self, message_id: str) -> bool:
        """False for the message id of an event, not a change of the cart, that is remembered."""
        digest = crc32(message_id.encode()).to_bytes(BROWSED_BYTES, "little")
        browsed = self.browsed
        if digest in browsed and holds(browsed, digest):
            return False
        browsed += digest
        self.browsed = browsed if len(browsed) <= BROWSED_LIMIT else browsed[-BROWSED_LIMIT:]
        return True

"""What sessions keep of one customer."""

from __future__ import annotations

import hashlib

import msgspec

from cartstream.events.records import Cart, Item, Session
from cartstream.events.times import EventTime

SEEN_BYTES = 8
SEEN_LIMIT = 64 * SEEN_BYTES
VIEWED_LIMIT = 20
MARKS_LIMIT = 100
LINES_LIMIT = 200


class Visit(msgspec.Struct, array_like=True):
    """A session that event time has not closed yet. A device may have two, when events of a later one came early.

    `viewed` has the time of each product's last view.
    """

    device_id: str
    session_id: str
    started_at: EventTime
    last_at: EventTime
    events: int = 0
    orders: int = 0
    page_views: int = 0
    viewed: dict[str, EventTime] = {}

    def view(self, product_id: str, at: EventTime) -> None:
        """Keeps the newest views, whatever order they come in."""
        if at > self.viewed.get(product_id, -1):
            self.viewed[product_id] = at
        if len(self.viewed) > VIEWED_LIMIT:
            del self.viewed[min(self.viewed, key=lambda known: (self.viewed[known], known))]

    def facts(self) -> Session:
        return Session(
            self.session_id,
            self.device_id,
            self.started_at,
            self.last_at,
            self.events,
            self.orders,
            self.page_views,
            sorted(self.viewed, key=lambda product_id: (self.viewed[product_id], product_id)),
        )


class Line(msgspec.Struct, array_like=True):
    """A product in the cart; `at` is its latest change."""

    quantity: int
    price: float | None
    name: str | None
    at: EventTime


class CustomerState(msgspec.Struct, array_like=True):
    """Sessions that are not over, one cart, and the marks that keep late events from undoing later ones.

    `removed` has the time of each product's last removal: an older add cannot bring it back. `cleared_at` is the same for the whole cart.
    `seen` holds 8-byte digests of the last message ids, oldest first. A customer that was merged keeps only `merged_into`.
    """

    customer_id: str
    visits: list[Visit] = []
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

    def cart(self) -> Cart | None:
        """A snapshot, products in the order of their id; None when empty."""
        if not self.lines:
            return None
        items = [Item(product, line.quantity, line.price, line.name) for product, line in sorted(self.lines.items())]
        value = round(sum(item.quantity * (item.price or 0.0) for item in items), 2)
        return Cart(self.version, items, value, self.currency)

    def first_time(self, message_id: str) -> bool:
        """False for a message id among the last 64."""
        digest = hash_of(message_id)
        at = self.seen.find(digest)
        while at >= 0:
            if at % SEEN_BYTES == 0:
                return False
            at = self.seen.find(digest, at + 1)
        self.seen = (self.seen + digest)[-SEEN_LIMIT:]
        return True

    def absorb_seen(self, other: bytes) -> None:
        """Keep the message ids of both: the newest of each."""
        half = SEEN_LIMIT // 2
        self.seen = other[-half:] + self.seen[-half:] if other else self.seen


def hash_of(message_id: str) -> bytes:
    """Eight bytes, the same in every process."""
    return hashlib.blake2b(message_id.encode(), digest_size=SEEN_BYTES).digest()

"""What sessions keep of one customer.

No struct refers back to one that holds it, so the garbage collector need not look at any (`gc=False`): there are millions.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias
from zlib import crc32

import msgspec

from cartstream.events.clicks import Action
from cartstream.events.records import Order, Session, make_id
from cartstream.events.times import EventTime

BROWSED_BYTES = 4
BROWSED_LIMIT = 64 * BROWSED_BYTES
SEEN_BYTES = 8
SEEN_LIMIT = 32 * SEEN_BYTES
VIEWED_LIMIT = 20
MARKS_LIMIT = 100
LINES_LIMIT = 200
RECENT_LIMIT = 32
_VIEW, _EXIT = Action.VIEW, Action.EXIT  # to ask an enum's class for a member takes 60 ns


class Visit(msgspec.Struct, array_like=True, gc=False):
    """A session that event time has not closed yet. A device may have two, when events of a later one came early.

    `viewed` has the time of each product's last view. `session_id` is empty as long as device and start give it: see `id`.
    """

    device_id: str
    session_id: str
    started_at: EventTime
    last_at: EventTime
    events: int = 0
    orders: int = 0
    page_views: int = 0
    viewed: dict[str, EventTime] = {}

    @property
    def id(self) -> str:
        return self.session_id or make_id("session", self.device_id, self.started_at)

    def begin_at(self, at: EventTime, watermark: EventTime) -> None:
        """An earlier start. The id then does not depend on who came first; but a late event changes no id that was acted upon."""
        self.session_id = "" if at > watermark else self.id
        self.started_at = at

    def view(self, product_id: str, at: EventTime) -> None:
        """Keeps the newest views, whatever order they come in."""
        if at > self.viewed.get(product_id, -1):
            self.viewed[product_id] = at
        if len(self.viewed) > VIEWED_LIMIT:
            del self.viewed[min(self.viewed, key=lambda known: (self.viewed[known], known))]

    def facts(self) -> Session:
        return Session(
            self.id,
            self.device_id,
            self.started_at,
            self.last_at,
            self.events,
            self.orders,
            self.page_views,
            sorted(self.viewed, key=lambda product_id: (self.viewed[product_id], product_id)),
        )


class Line(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A product in the cart; `at` is its latest change."""

    quantity: int
    price: float | None
    name: str | None
    at: EventTime


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
    """

    lines: dict[str, Line] = {}
    removed: dict[str, EventTime] = {}
    cleared_at: EventTime = 0
    version: EventTime = 0
    currency: str | None = None
    order_mark: EventTime = 0
    checkout_at: EventTime = 0


class CustomerState(msgspec.Struct, array_like=True, gc=False):
    """Sessions that are not over, and one cart: what `Held` holds is the cart with all changes, in event order.

    `recent` are the changes that the watermark has not passed, in event order, and `settled` the cart before them: so one that comes
    out of order finds its place. Without any, `settled` is None. A customer that was merged keeps only `merged_into`.

    `seen` has digests of the last changes' message ids, `browsed` of the other events' since the customer has been there; oldest first.
    Eight bytes, since a change that is wrongly taken for a repetition would be missing from a cart: once in 10^17 events. Of the others
    one in 67 million is, and a page view is missing from a count: four.
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
    browsed: bytes = b""
    recent: list[Change] = []
    settled: Held | None = None

    def first_time(self, message_id: str, action: Action) -> bool:
        """False for a message id that is remembered."""
        if _VIEW < action < _EXIT:
            digest = hashlib.blake2b(message_id.encode(), digest_size=SEEN_BYTES).digest()
            if _holds(self.seen, digest):
                return False
            self.seen = (self.seen + digest)[-SEEN_LIMIT:]
            return True
        digest = crc32(message_id.encode()).to_bytes(BROWSED_BYTES, "little")
        if digest in self.browsed and _holds(self.browsed, digest):
            return False
        self.browsed = (self.browsed + digest)[-BROWSED_LIMIT:]
        return True

    def absorb_seen(self, other: CustomerState) -> None:
        """Keep the message ids of both: the newest of each."""
        self.seen = _both(other.seen, self.seen, SEEN_LIMIT)
        self.browsed = _both(other.browsed, self.browsed, BROWSED_LIMIT)


def _holds(digests: bytes, digest: bytes) -> bool:
    at = digests.find(digest)
    while at >= 0:
        if at % len(digest) == 0:
            return True
        at = digests.find(digest, at + 1)
    return False


def _both(other: bytes, mine: bytes, limit: int) -> bytes:
    return other[-limit // 2 :] + mine[-limit // 2 :] if other else mine

"""What sessions keep of one customer.

Each event unpacks the state, changes it and packs it again, so what only some events need stays packed: the cart, and the products
looked at. No struct refers back to one that holds it, so the garbage collector need not look at any (`gc=False`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias
from zlib import crc32

import msgspec

from cartstream.events.read_model import GUARDED, Guard
from cartstream.events.records import Session, make_id
from cartstream.events.times import EventTime
from cartstream.sessions.basket import NOTHING, Basket, Waiting, holds, pack, packed, unpacked
from cartstream.sessions.views import PRICE_LIMIT, View, by_product, currency_code, currency_of, mark_of, packed_view

LAYOUT = GUARDED
BROWSED_BYTES = 4
BROWSED_LIMIT = 64 * BROWSED_BYTES
VIEWED_LIMIT = 20
VIEWS_LIMIT = 2 * VIEWED_LIMIT
SEARCHES_LIMIT = 5
TERM_LIMIT = 64
Search: TypeAlias = tuple[EventTime, str]

_unpack_views = msgspec.msgpack.Decoder(list[View]).decode
_unpack_searches = msgspec.msgpack.Decoder(list[Search]).decode
_unpack_waiting = msgspec.msgpack.Decoder(Waiting).decode


class Visit(msgspec.Struct, array_like=True, gc=False):
    """A session that event time has not closed yet. A device may have two, when events of a later one came early.

    `session_id` is empty as long as device and start give it: see `id`. `viewed` are so many `views`, each packed by itself, at the time
    after the start. `currency` is that of the first price, "" if it had none; None: there is no price. `searched` are packed. `forgotten`
    is how many looks at other products there were.
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
    currency: str | None = None
    searched: bytes | None = None
    forgotten: int = 0

    @property
    def id(self) -> str:
        return self.session_id or make_id("session", self.device_id, self.started_at)

    def begin_at(self, at: EventTime, watermark: EventTime) -> None:
        """An earlier start. The id then does not depend on who came first; but a late event changes no id that was acted upon."""
        self.session_id = "" if at > watermark else self.id
        views = self.seen() if self.views else []
        self.started_at = at
        self.keep(views)

    def view(self, product_id: str, at: EventTime, price: float | None = None, currency: str | None = None) -> None:
        """What cannot be a price is none. In one piece: one event in four comes here."""
        after = at - self.started_at
        if price is None or not 0 <= price <= PRICE_LIMIT:
            self.viewed += pack((product_id, after))
        else:
            hundredths = int(price * 100 + 0.5)
            stored = hundredths if hundredths / 100 == price else price
            if currency is not None and currency == self.currency:
                self.viewed += pack((product_id, after, stored))
            else:
                self.viewed += packed_view(product_id, after, stored, self._mark(currency), 1)
        self.views += 1
        if self.views > VIEWS_LIMIT:
            self._keep_last()

    def search(self, term: str, at: EventTime) -> None:
        term = " ".join(term.split())[:TERM_LIMIT]
        if term:
            self.searched = pack(last_searches([*self.searches(), (at, term)]))

    def absorb(self, other: Visit) -> None:
        """Two sessions are one after all."""
        self.last_at = max(self.last_at, other.last_at)
        self.events += other.events
        self.orders += other.orders
        self.page_views += other.page_views
        self.forgotten += other.forgotten
        self.keep([*self.seen(), *other.seen()])
        if self.views > VIEWS_LIMIT:
            self._keep_last()
        if other.searched is not None:
            self.searched = pack(last_searches([*self.searches(), *other.searches()]))

    def looks(self) -> list[View]:
        """The products that were looked at, newest last; whatever order the views came in."""
        return self._at_their_times(by_product(self._stored(), self.currency)) if self.views else []

    def products(self) -> list[tuple[str, EventTime]]:
        """The last that were looked at and when, newest last."""
        return [(view.product_id, view.at) for view in self.looks()[-VIEWED_LIMIT:]]

    def facts(self, looks: list[View] | None = None) -> Session:
        """`looks` as they are, if they are at hand."""
        looks = self.looks() if looks is None else looks
        products, views = [view.product_id for view in looks[-VIEWED_LIMIT:]], sum([view.views for view in looks], self.forgotten)
        return Session(self.id, self.device_id, self.started_at, self.last_at, self.events, self.orders, self.page_views, products, views)

    def seen(self) -> list[View]:
        """In the order they came."""
        return self._at_their_times(self._stored())

    def _stored(self) -> list[View]:
        return _unpack_views(b"\xdd" + self.views.to_bytes(4, "big") + self.viewed)  # with the header of an array

    def _at_their_times(self, views: list[View]) -> list[View]:
        start, base = self.started_at, self.currency
        return [View(view.product_id, start + view.at, view.price, currency_of(view, base), view.views) for view in views]

    def searches(self) -> list[Search]:
        """Oldest first."""
        return [] if self.searched is None else _unpack_searches(self.searched)

    def keep(self, views: list[View]) -> None:
        start, base = self.started_at, next((view.currency or "" for view in views if view.price is not None), None)
        self.views, self.currency = len(views), base
        self.viewed = b"".join(
            [packed_view(view.product_id, view.at - start, view.price, mark_of(view, base), view.views) for view in views]
        )

    def _mark(self, currency: str | None) -> str | None:
        """What a price's view says of its currency; the first price says it for all."""
        said = (currency_code(currency) if currency else None) or ""
        if self.currency is None:
            self.currency = said
        return None if said == self.currency else said

    def _keep_last(self) -> None:
        looks = self.looks()
        self.forgotten += sum([view.views for view in looks[:-VIEWED_LIMIT]])
        self.keep(looks[-VIEWED_LIMIT:])


def last_searches(searches: Iterable[Search]) -> list[Search]:
    """Each term once, however it is capitalised, oldest first."""
    last = {term.casefold(): (at, term) for at, term in sorted(searches)}
    return sorted(last.values())[-SEARCHES_LIMIT:]


class CustomerState(msgspec.Struct, array_like=True, tag=LAYOUT, gc=False):
    """Sessions that are not over, and one cart. A customer that was merged keeps only `merged_into`, and a guard that says so.

    It begins as `read_model.Guarded`: senders read `guard`, which says what has been told of the cart.
    `cart` is a packed `Basket` and `waiting` a packed `Waiting`, or both are nil; `unsettled` is when the last change that waits happened.
    `browsed` has digests of the message ids of all other events since the customer has been there, oldest first. One in 67 million is
    wrongly taken for a repetition and missing from a count, so they have four bytes. `habits` are packed: see `habits.Habits`.
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
    habits: bytes | None = None

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

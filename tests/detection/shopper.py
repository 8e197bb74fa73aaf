"""A shopper whose activity comes out as the sessions service would write it."""

from __future__ import annotations

from cartstream.events.records import Activity, Cart, ExitHint, Item, Order, Session, make_id
from cartstream.events.times import HOUR, MINUTE, EventTime

T0: EventTime = 1_710_000_000_000
GAP = 30 * MINUTE


class Shopper:
    """Collects `activities`. `at` of every verb is minutes after T0."""

    def __init__(self, customer_id: str = "ann", started: EventTime = T0) -> None:
        self.customer_id = customer_id
        self.started = started
        self.activities: list[Activity] = []
        self.items: dict[str, int] = {}
        self.version: EventTime = 0

    def time(self, at: float) -> EventTime:
        return self.started + int(at * MINUTE)

    @property
    def cart(self) -> Cart | None:
        if not self.items:
            return None
        items = [Item(product, quantity, 10.0) for product, quantity in sorted(self.items.items())]
        return Cart(self.version, items, 10.0 * sum(self.items.values()), "EUR")

    def visit(self, begin: float, end: float, *, device: str = "phone", viewed: tuple[str, ...] = (), orders: int = 0) -> Shopper:
        """A session; what happens inside it is added by the other verbs."""
        started, last = self.time(begin), self.time(end)
        session_id = make_id(self.customer_id, device, started)
        opening = Session(session_id, device, started, started, 1, 0, 1, [])
        closing = Session(session_id, device, started, last, 9, orders, 5, list(viewed))
        self._add("session_started", started, device, opening)
        self._add("session_ended", last + GAP, device, closing, last)
        return self

    def add(self, at: float, product: str = "shoe", device: str = "phone") -> Shopper:
        self.items[product] = self.items.get(product, 0) + 1
        return self._change("cart_updated", at, device)

    def empty(self, at: float, device: str = "phone") -> Shopper:
        self.items.clear()
        return self._change("cart_emptied", at, device)

    def checkout(self, at: float, device: str = "phone") -> Shopper:
        self._add("checkout_started", self.time(at), device)
        return self

    def order(self, at: float, *products: str, device: str = "phone") -> Shopper:
        for product in products or tuple(self.items):
            self.items.pop(product, None)
        self.version = max(self.time(at), self.version + 1)
        self._add("order_placed", self.time(at), device, order=Order(f"o{at}", 20.0, "EUR", sorted(products)))
        return self

    def leave(self, at: float, trigger: str = "pointer_top_exit", *, dwell_ms: int | None = 20_000, orders: int = 0) -> Shopper:
        session = Session("s-exit", "phone", self.time(at) - 60_000, self.time(at), 5, orders, 3, ["shoe", "hat"])
        self._add("exit_signal", self.time(at), "phone", session, exit=ExitHint(trigger, dwell_ms, 40.0))
        return self

    def _change(self, kind: str, at: float, device: str) -> Shopper:
        self.version = max(self.time(at), self.version + 1)
        self._add(kind, self.time(at), device)
        return self

    def _add(
        self,
        kind: str,
        at: EventTime,
        device: str | None,
        session: Session | None = None,
        last: EventTime | None = None,
        *,
        order: Order | None = None,
        exit: ExitHint | None = None,
    ) -> None:
        id = make_id(self.customer_id, kind, at, device, len(self.activities))
        activity = Activity(id, kind, self.customer_id, at, last or at, device, session, self.cart, exit, order)
        self.activities.append(activity)

    @property
    def end(self) -> EventTime:
        return max(activity.at for activity in self.activities) + 2 * HOUR

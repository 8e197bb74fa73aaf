"""What a customer did lately, on all devices: windows that roll on beside the sessions.

They learn from a visit when it is over. So an event costs nothing more, what comes out of order is in its place by then, and who is
here for the first time has none yet. A visit that ran into the limit is no habit: whoever never leaves is a machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from cartstream.events import records
from cartstream.events.records import Look
from cartstream.events.times import DAY, HOUR, EventTime
from cartstream.sessions.basket import pack
from cartstream.sessions.state import VIEWED_LIMIT, VIEWS_LIMIT, Search, Visit, currency_of, last_searches, mark_of
from cartstream.sessions.views import View, by_product, newest

VIEWS_WINDOW = 7 * DAY
HOURS_WINDOW = 28 * DAY
HOURS_LIMIT = 32


class Habits(msgspec.Struct, gc=False):
    """`views` are one of each visit and product, oldest first: those of the last seven days, and the newest of each product however old.
    `hours` are those since the epoch in which a visit began."""

    views: list[View] = []
    searches: list[Search] = []
    hours: list[int] = []


class _Kept(msgspec.Struct, array_like=True, gc=False):
    """As it is stored: times as distances back from `at`, hours from its hour."""

    at: EventTime
    hours: list[int] = []
    views: list[View] = []
    searches: list[Search] = []
    currency: str | None = None


_unpack = msgspec.msgpack.Decoder(_Kept).decode


def packed(habits: Habits) -> bytes | None:
    if not habits.hours:
        return None
    base = max([view.at for view in habits.views], default=habits.hours[-1] * HOUR)
    currency = next((view.currency or "" for view in reversed(habits.views) if view.price is not None), None)
    views = [View(view.product_id, base - view.at, view.price, mark_of(view, currency), view.views) for view in habits.views]
    searches = [(base - at, term) for at, term in habits.searches]
    return pack(_Kept(base, [base // HOUR - hour for hour in habits.hours], views, searches, currency))


def unpacked(raw: bytes | None) -> Habits:
    if raw is None:
        return Habits()
    kept = _unpack(raw)
    base, currency = kept.at, kept.currency
    views = [View(view.product_id, base - view.at, view.price, currency_of(view, currency), view.views) for view in kept.views]
    return Habits(views, [(base - at, term) for at, term in kept.searches], [base // HOUR - hour for hour in kept.hours])


def learn(habits: Habits, visit: Visit) -> None:
    """From a visit that is over."""
    _put(habits, visit.looks(), visit.searches(), [visit.started_at // HOUR])


def join(habits: Habits, other: Habits) -> None:
    """Two customers are one. Safe to repeat."""
    _put(habits, other.views, other.searches, other.hours)


def known(habits: Habits, at: EventTime, visits: Iterable[Visit] = ()) -> records.Habits:
    """What to tell at that time; `visits` are not over yet."""
    open_visits = list(visits)
    views = [*habits.views, *(view for visit in open_visits for view in visit.looks())]
    in_window = by_product(view for view in views if view.at > at - VIEWS_WINDOW)
    counts = {view.product_id: view.views for view in in_window}
    last = by_product(views)[-VIEWED_LIMIT:]
    looks = [Look(view.product_id, view.at, counts.get(view.product_id, 0), view.amount, view.currency) for view in last]
    low, high, currency = _prices(looks)
    searches = last_searches([*habits.searches, *(search for visit in open_visits for search in visit.searches())])
    terms, hours = [term for _, term in searches], [hour for hour in habits.hours if hour * HOUR > at - HOURS_WINDOW]
    return records.Habits(looks, len(hours), low, high, currency, _usual(hours), terms)


def _put(habits: Habits, views: list[View], searches: list[Search], hours: list[int]) -> None:
    both = {(view.product_id, view.at): view for view in sorted([*habits.views, *views], key=lambda view: (view.views, newest(view)))}
    habits.views = _bounded(sorted(both.values(), key=newest))
    habits.searches = last_searches([*habits.searches, *searches])
    known_hours = sorted({*habits.hours, *hours})
    habits.hours = [hour for hour in known_hours if hour > known_hours[-1] - HOURS_WINDOW // HOUR][-HOURS_LIMIT:]


def _bounded(views: list[View]) -> list[View]:
    """Of the last products only, each as it was last; the rest of the window as far as there is room."""
    if not views:
        return []
    last = {view.product_id: view.at for view in by_product(views)[-VIEWED_LIMIT:]}
    since, room = views[-1].at - VIEWS_WINDOW, VIEWS_LIMIT - len(last)
    rest = [view for view in views if since < view.at < last.get(view.product_id, since)][-room:]
    return sorted([*rest, *(view for view in views if view.at == last.get(view.product_id))], key=newest)


def _prices(looks: list[Look]) -> tuple[float | None, float | None, str | None]:
    """Least and most, in the currency of the last price."""
    priced = [look for look in looks if look.price is not None]
    if not priced:
        return None, None, None
    currency = priced[-1].currency
    prices = [look.price for look in priced if look.price is not None and look.currency == currency]
    return min(prices), max(prices), currency


def _usual(hours: list[int]) -> list[int]:
    counts = Counter(hour % 24 for hour in hours)
    return sorted(counts, key=lambda hour: (-counts[hour], hour))

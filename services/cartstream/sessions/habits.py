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
from cartstream.sessions.state import VIEWED_LIMIT, VIEWS_LIMIT, Search, Visit, last_searches
from cartstream.sessions.views import View, by_product, currency_of, mark_of, newest

VIEWS_WINDOW = 7 * DAY
HOURS_WINDOW = 28 * DAY
HOURS_LIMIT = 32


class Habits(msgspec.Struct, gc=False):
    """`views` are one of each visit and product, oldest first: those of the last seven days, and the newest of each product however old.
    `hours` are those since the epoch in which a visit began."""

    views: list[View] = []
    searches: list[Search] = []
    hours: list[int] = []


NONE = Habits()
"""Of who is here for the first time. Not to be changed."""


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


def learn(habits: Habits, visit: Visit, looks: list[View]) -> None:
    """From a visit that is over, and its looks."""
    _put(habits, looks, visit.searches(), [visit.started_at // HOUR])


def join(habits: Habits, other: Habits) -> None:
    """Two customers are one. Safe to repeat."""
    _put(habits, other.views, other.searches, other.hours)


def known(habits: Habits, at: EventTime, looks: list[View] | None = None, searches: Iterable[Search] = ()) -> records.Habits:
    """What to tell at that time; `looks`, one of each product, and `searches` are of visits that are not over yet."""
    last = _recent(habits.views, at, looks or []) if habits.views else looks or []
    recent = [
        Look(view.product_id, view.at, view.views, view.price / 100 if view.price.__class__ is int else view.price, view.currency)
        for view in last[-VIEWED_LIMIT:]
    ]
    low, high, currency = _prices(recent)
    terms = [term for _, term in last_searches([*habits.searches, *searches])] if habits.searches or searches else []
    hours = [hour for hour in habits.hours if hour * HOUR > at - HOURS_WINDOW]
    return records.Habits(recent, len(hours), low, high, currency, _usual(hours) if hours else [], terms)


def _recent(views: list[View], at: EventTime, looks: list[View]) -> list[View]:
    """By product, newest last; what is too old counts nothing."""
    since = at - VIEWS_WINDOW
    counted = [view if view.at > since else View(view.product_id, view.at, view.price, view.currency, 0) for view in views]
    return by_product([*counted, *looks])


def _put(habits: Habits, views: list[View], searches: list[Search], hours: list[int]) -> None:
    both: dict[tuple[str, EventTime], View] = {}
    for view in [*habits.views, *views]:
        place = (view.product_id, view.at)
        known = both.get(place)
        both[place] = view if known is None or known == view else max(known, view, key=_seen_more)
    habits.views = _bounded(sorted(both.values(), key=newest))
    habits.searches = last_searches([*habits.searches, *searches])
    known_hours = sorted({*habits.hours, *hours})
    habits.hours = [hour for hour in known_hours if hour > known_hours[-1] - HOURS_WINDOW // HOUR][-HOURS_LIMIT:]


def _seen_more(view: View) -> tuple[int, str]:
    return view.views, repr(view)


def _bounded(views: list[View]) -> list[View]:
    """Of the last products only, each as it was last; the rest of the window as far as there is room. Takes them newest last."""
    if not views:
        return []
    since = views[-1].at - VIEWS_WINDOW
    if len(views) <= VIEWS_LIMIT and views[0].at > since and len({view.product_id for view in views}) <= VIEWED_LIMIT:
        return views
    last = {view.product_id: view.at for view in by_product(views)[-VIEWED_LIMIT:]}
    room = VIEWS_LIMIT - len(last)
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

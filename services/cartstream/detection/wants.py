"""The products that a shopper wants: what lies in the cart, what was looked at lately; and what is said when one is cheaper or back.

A shopper is held to know the price that a product had when it came into the cart or was looked at, and later what was told; a drop is
one from there. All of it goes by event time: a change counts if the shopper wanted the product at that moment.
Source: Klaviyo's price-drop and back-in-stock flows; Braze's catalogue triggers.
"""

from __future__ import annotations

from bisect import insort

from cartstream.detection.notes import Change, News, Watch, Watcher, note, product_key
from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import DetectionState, Found, Told, Want, signal_id
from cartstream.events.records import Activity, Cart, ProductChange, Signal
from cartstream.events.times import DAY, SECOND, EventTime

WANTS_LIMIT = 32
PRICE_DROPPED, BACK_IN_STOCK, PRODUCT_CHANGED = "price_dropped", "back_in_stock", "product_changed"
STILL_WAITING = 2 * DAY
"""So long after something was said of a product a message of it may still wait to be sent."""


def follow(state: DetectionState, activity: Activity, settings: DetectionSettings, found: Found) -> None:
    """After `activity` has been applied: what is wanted now, and who has to know."""
    session = activity.session
    if activity.kind == "order_placed":
        _bought(state, activity)
    if activity.kind in ("cart_updated", "cart_emptied", "order_placed"):
        _hold_cart(state, activity.at)
    elif activity.kind == "session_ended" and session is not None:
        looks = {look.product_id: look.at for look in activity.habits.recent} if activity.habits is not None else {}
        for product_id in session.viewed if settings.watch_views_days else []:
            _viewed(state, product_id, session.started_at, min(looks.get(product_id, session.ended_at), session.ended_at))
    else:
        return
    _limit(state, activity.at, settings)
    ask(state, activity.at, settings, found)


def ask(state: DetectionState, at: EventTime, settings: DetectionSettings, found: Found) -> None:
    """Of what is wanted: be told, if it is not certain already that one is."""
    for want in state.wants:
        if want.until:
            continue
        needed = at + settings.keep_ms // 2 if want.in_cart else _expires(want, settings)
        if want.asked >= needed or needed <= at:
            continue
        want.asked, want.waiting = at + (settings.keep_ms if want.in_cart else 2 * settings.watch_views_days * DAY), True
        watch = Watch(want.product_id, Watcher(state.customer_id, want.asked))
        found.notes.append(note(state.customer_id, product_key(want.product_id), at, watch))


def hear(state: DetectionState, news: News) -> None:
    """What comes after the shopper began to want it waits for its time; what was before is how it was."""
    want = next((known for known in state.wants if known.product_id == news.product_id), None)
    if want is None:
        return
    if news.answers:
        want.waiting = False
    for change in news.changes:
        if change.at <= want.heard:
            continue
        want.heard = change.at
        if change.at <= want.since:
            _know(want, change)
        else:
            insort(state.told, Told(change.at, news.product_id, change), key=lambda told: (told.at, told.product_id))


def apply(state: DetectionState, told: Told, settings: DetectionSettings, found: Found) -> None:
    """Let a product's change say something, if the shopper wants it at that moment."""
    want = next((known for known in state.wants if known.product_id == told.product_id), None)
    if want is None or not _wanted(want, told.at, settings):
        return
    change = told.change
    returned, sold_out = change.available is True and want.gone, change.available is False and not want.gone
    known = want.price if want.price is not None else change.previous_price
    comparable = known is not None and change.price is not None and want.currency in (None, change.currency)
    dropped = comparable and change.price <= known * (1 - settings.price_drop_percent / 100) and change.price < known  # type: ignore[operator]
    raised = comparable and change.price > known  # type: ignore[operator]
    if not comparable:
        known = change.price
    want.price, want.currency, want.gone = known, change.currency or want.currency, change.available is False
    product = ProductChange(want.product_id, change.price, known, want.currency, change.name)
    if sold_out or raised:
        _take_back(state, product, change.at, found)
    if returned:
        _say(state, BACK_IN_STOCK, want, product, change.at, settings, found)
    if dropped and want.gone:
        found.outcomes.append((PRICE_DROPPED, "out_of_stock"))
    elif dropped:
        _say(state, PRICE_DROPPED, want, product, change.at, settings, found)


def nothing_left(state: DetectionState, cart: Cart) -> bool:
    """Whether all that lies in the cart is out of stock. What nobody spoke of is there."""
    gone = {want.product_id for want in state.wants if want.gone}
    return bool(cart.items) and all(item.product_id in gone for item in cart.items)


def is_waiting(state: DetectionState) -> bool:
    """Whether it is still unknown if what lies in the cart can be bought."""
    return any(want.waiting and want.in_cart for want in state.wants)


def joined(mine: list[Want], other: list[Want]) -> list[Want]:
    """What either wants; what either bought since, neither. Whoever survives asks anew."""
    both: dict[str, Want] = {}
    for want in (*mine, *other):
        known = both.get(want.product_id)
        both[want.product_id] = _one(want, want) if known is None else _one(known, want)
    return [both[product_id] for product_id in sorted(both)]


def _one(one: Want, another: Want) -> Want:
    first, second = sorted((one, another), key=lambda want: (want.heard, want.since, want.until, repr(want)))
    bought = max(first.until, second.until)
    since = min(first.since, second.since)
    opened = max((want.since for want in (first, second) if not want.until), default=0)
    return Want(
        first.product_id,
        opened if bought and opened > bought else since,
        0 if opened > bought else bought,
        first.in_cart or second.in_cart,
        max(first.viewed_at, second.viewed_at),
        heard=second.heard,
        price=second.price,
        currency=second.currency,
        gone=second.gone,
    )


def _bought(state: DetectionState, activity: Activity) -> None:
    """What was bought is not wanted any more: the products that the order names, or else all that lay in the cart."""
    named = activity.order.product_ids if activity.order is not None else []
    bought = set(named) or {want.product_id for want in state.wants if want.in_cart}
    for want in state.wants:
        if want.product_id in bought:
            want.until, want.in_cart = max(activity.at, want.until), False
            bought.discard(want.product_id)
    state.wants += [Want(product_id, activity.at, activity.at) for product_id in sorted(bought)]


def _hold_cart(state: DetectionState, at: EventTime) -> None:
    """What is taken out of the cart was looked at then."""
    inside = {item.product_id for item in state.cart.items} if state.cart is not None else set()
    for want in state.wants:
        if want.in_cart and want.product_id not in inside:
            want.in_cart, want.viewed_at = False, max(at, want.viewed_at)
        elif want.product_id in inside and not want.until:
            want.in_cart = True
    held = {want.product_id for want in state.wants if want.in_cart}
    state.wants = [want for want in state.wants if want.product_id in held or want.product_id not in inside]
    state.wants += [Want(product_id, at, in_cart=True, viewed_at=at) for product_id in sorted(inside - held)]


def _viewed(state: DetectionState, product_id: str, began_at: EventTime, at: EventTime) -> None:
    """A visit in which it was bought leaves no wish."""
    known = next((want for want in state.wants if want.product_id == product_id), None)
    if known is not None and not known.until:
        known.viewed_at = max(at, known.viewed_at)
    elif known is None or known.until < began_at:
        state.wants = [want for want in state.wants if want is not known]
        state.wants.append(Want(product_id, at, viewed_at=at))


def _limit(state: DetectionState, at: EventTime, settings: DetectionSettings) -> None:
    """What is over goes; of the rest the newest stay, what lies in the cart first."""
    kept = [want for want in state.wants if at < _remembered(want, settings)]
    kept.sort(key=lambda want: (want.in_cart, not want.until, want.viewed_at, want.product_id))
    state.wants = sorted(kept[-WANTS_LIMIT:], key=lambda want: want.product_id)


def _wanted(want: Want, at: EventTime, settings: DetectionSettings) -> bool:
    if at <= want.since or (want.until and at >= want.until):
        return False
    return want.in_cart or at < _expires(want, settings)


def _expires(want: Want, settings: DetectionSettings) -> EventTime:
    return want.viewed_at + settings.watch_views_days * DAY


def _remembered(want: Want, settings: DetectionSettings) -> EventTime:
    """What was bought is remembered until no visit of that time can end any more."""
    if want.until:
        return want.until + (settings.session_limit_s + settings.session_gap_s) * SECOND
    return max(want.viewed_at + settings.keep_ms, want.since) if want.in_cart else _expires(want, settings)


def _know(want: Want, change: Change) -> None:
    if change.price is not None:
        want.price, want.currency = change.price, change.currency
    want.gone = change.available is False


def _take_back(state: DetectionState, product: ProductChange, at: EventTime, found: Found) -> None:
    """What was said of a product of late holds no longer: a message that still waits must not go out."""
    if any(at - state.signalled_at.get(kind, at - STILL_WAITING) < STILL_WAITING for kind in (PRICE_DROPPED, BACK_IN_STOCK)):
        episode = f"{product.product_id}:{at}"
        id = signal_id(PRODUCT_CHANGED, state.customer_id, episode)
        found.signal(Signal(id, PRODUCT_CHANGED, state.customer_id, at, at, episode, product=product))


def _say(
    state: DetectionState, kind: str, want: Want, product: ProductChange, at: EventTime, settings: DetectionSettings, found: Found
) -> None:
    """At most one of a kind in the cooldown: a sale is one message. What was not said is not known, and can be said later."""
    last = state.signalled_at.get(kind)
    if last is not None and at - last < settings.product_cooldown_s * SECOND:
        return found.outcomes.append((kind, "cooldown"))
    state.signalled_at[kind] = at
    want.price = product.price if product.price is not None else want.price
    episode = f"{want.product_id}:{at}"
    id = signal_id(kind, state.customer_id, episode)
    cart = state.cart if want.in_cart else None
    return found.signal(Signal(id, kind, state.customer_id, at, at, episode, cart, viewed=[want.product_id], product=product))

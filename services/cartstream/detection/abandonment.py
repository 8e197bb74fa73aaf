"""What counts as leaving something behind: applied strictly in event order, judged when the shopper has been silent for long enough.

Checkout outranks cart, cart outranks browse. Emptying a cart is not abandoning it.
Source: Shopify's and Braze's distinct types; timers restart on any activity (Wix, Klaviyo practice).
"""

from __future__ import annotations

from collections.abc import Callable

from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import (
    ENDED_LIMIT,
    OPEN_LIMIT,
    SIGNALLED_LIMIT,
    VIEWED_LIMIT,
    Abandonment,
    DetectionState,
    Found,
    OpenSession,
    Signalled,
    Visit,
    short,
    signal_id,
)
from cartstream.detection.wants import nothing_left
from cartstream.events.records import Activity, Cart, Order, Signal
from cartstream.events.times import SECOND, EventTime

CART, CHECKOUT, BROWSE = "cart_abandoned", "checkout_abandoned", "browse_abandoned"
_OF_CARTS = (CART, CHECKOUT)


def apply(state: DetectionState, activity: Activity, found: Found) -> None:
    """Let one activity change the state. The caller keeps event order."""
    state.applied_at = max(state.applied_at, activity.at)
    if activity.device_id is not None and activity.kind != "session_ended":
        state.last_activity = max(state.last_activity, activity.at)
    if activity.device_id is None:
        state.joined_at = max(state.joined_at, activity.at)
    APPLY[activity.kind](state, activity, found)


def _session_started(state: DetectionState, activity: Activity, found: Found) -> None:
    session = activity.session
    if session is None or activity.device_id is None or short(session.session_id) in state.ended:
        return
    state.open[activity.device_id] = OpenSession(short(session.session_id), activity.at)
    if len(state.open) > OPEN_LIMIT:
        del state.open[min(state.open, key=lambda device: (state.open[device].started_at, device))]
    shopper_returned(state, activity.at, found)


def shopper_returned(state: DetectionState, at: EventTime, found: Found) -> None:
    """The messages of an open abandonment wait while the shopper is there."""
    left = state.abandonment
    if left is None or left.returned:
        return
    left.returned = True
    found.signal(_about(state, "shopper_returned", at, left.episode, at))


def _session_ended(state: DetectionState, activity: Activity, found: Found) -> None:
    session = activity.session
    if session is None or activity.device_id is None:
        return
    current = state.open.get(activity.device_id)
    if current is not None and current.started_at <= session.ended_at:  # by time: two that a merge joined end as one
        del state.open[activity.device_id]
    if short(session.session_id) in state.ended:
        return
    state.ended = [*state.ended, short(session.session_id)][-ENDED_LIMIT:]
    state.latches = [latch for latch in state.latches if latch.session_id != short(session.session_id)]
    state.last_activity = max(state.last_activity, session.ended_at)
    ended = Visit(session.session_id, session.started_at, session.ended_at, session.orders, list(session.viewed))
    state.visit = ended if state.visit is None else joined_visit(state.visit, ended)


def joined_visit(one: Visit, other: Visit) -> Visit:
    first, last = sorted((one, other), key=lambda visit: (visit.ended_at, visit.session_id))
    viewed = [product for product in first.viewed if product not in last.viewed] + last.viewed
    started_at = min(one.started_at, other.started_at)
    return Visit(last.session_id, started_at, last.ended_at, max(one.orders, other.orders), viewed[-VIEWED_LIMIT:])


def _cart_updated(state: DetectionState, activity: Activity, found: Found) -> None:
    if activity.cart is None:
        _cart_emptied(state, activity, found)
    else:
        _take_cart(state, activity.cart, activity.at, found)


def _take_cart(state: DetectionState, cart: Cart, at: EventTime, found: Found) -> None:
    if cart.version <= state.cart_version:
        if cart != state.cart:
            found.outcomes.append(("cart", "older_version"))
        return
    if state.cart is None:
        state.began_at = at
    state.cart, state.cart_version, state.cart_at, state.judged = cart, cart.version, max(at, state.cart_at), 0
    left = state.abandonment
    if left is not None and left.kind in _OF_CARTS and int(left.episode) < cart.version:
        state.abandonment = None
        found.signal(_about(state, "cart_updated", at, str(cart.version), cart.version, cart=cart))


def _cart_emptied(state: DetectionState, activity: Activity, found: Found) -> None:
    if state.cart is None or activity.at < state.cart_at:
        return
    episode = str(state.cart_version)
    _clear_cart(state, activity.at)
    if state.abandonment is not None and state.abandonment.kind in _OF_CARTS:
        state.abandonment = None
    found.signal(_about(state, "cart_emptied", activity.at, episode, activity.id))


def _clear_cart(state: DetectionState, at: EventTime) -> None:
    state.cart, state.cart_at, state.checkout_at, state.judged = None, max(at, state.cart_at), 0, 0


def _checkout_started(state: DetectionState, activity: Activity, found: Found) -> None:
    state.checkout_at = max(state.checkout_at, activity.at)


def _order_placed(state: DetectionState, activity: Activity, found: Found) -> None:
    """The order ends whatever was abandoned; what it leaves in the cart begins anew."""
    bought_from, left = state.cart, state.abandonment
    state.order_mark = max(state.order_mark, activity.at)
    state.abandonment = None
    if activity.cart is None:
        if activity.at >= state.cart_at:
            _clear_cart(state, activity.at)
    else:
        _take_cart(state, activity.cart, activity.at, found)
        state.cart_at = max(state.cart_at, activity.at)
        state.began_at, state.checkout_at = max(state.began_at, activity.at), 0
    if left is not None and left.kind in _OF_CARTS:
        _recovered(state, left, activity, bought_from, found)


def _recovered(state: DetectionState, left: Abandonment, activity: Activity, bought_from: Cart | None, found: Found) -> None:
    """Only by an order that followed: one that comes late, and was before, shows that nothing had been abandoned."""
    if activity.at < left.at:
        found.outcomes.append(("abandonment", "bought_before"))
        return
    amount = _amount(activity.order, bought_from)
    signal = _about(state, "cart_recovered", activity.at, left.episode, activity.id, cart=bought_from, order=activity.order, amount=amount)
    found.signal(signal)


def _amount(order: Order | None, bought_from: Cart | None) -> float | None:
    """What the order says, or else what its products cost in the cart; it names none if it took all."""
    if order is not None and order.value is not None:
        return order.value
    if bought_from is None or order is None:
        return None
    if not order.product_ids:
        return bought_from.value
    return sum(item.quantity * item.price for item in bought_from.items if item.product_id in order.product_ids and item.price is not None)


APPLY: dict[str, Callable[[DetectionState, Activity, Found], None]] = {
    "session_started": _session_started,
    "session_ended": _session_ended,
    "cart_updated": _cart_updated,
    "cart_emptied": _cart_emptied,
    "checkout_started": _checkout_started,
    "order_placed": _order_placed,
}


def due_at(state: DetectionState, settings: DetectionSettings) -> EventTime | None:
    """When the shopper's silence becomes an abandonment, if nothing else happens. None: it was judged already.

    A session whose end was lost (in a merge, two can end as one) is over when none can last longer. After a merge there is one
    more delay: what the other customer was told comes by another way than the joined cart.
    """
    if state.last_activity in (0, state.judged):
        return None
    if state.open:
        longest_s = settings.session_limit_s + settings.session_gap_s
        return max(max(session.started_at for session in state.open.values()) + longest_s * SECOND + 1, state.applied_at)
    delay_s = {
        CART: settings.cart_abandoned_after_s,
        CHECKOUT: settings.checkout_abandoned_after_s,
        BROWSE: settings.browse_abandoned_after_s,
    }[_kind(state)]
    return max(max(state.last_activity, state.joined_at) + delay_s * SECOND, state.applied_at)


def _kind(state: DetectionState) -> str:
    if state.cart is None:
        return BROWSE
    return CHECKOUT if state.checkout_at >= max(state.began_at, 1) else CART


def judge(state: DetectionState, at: EventTime, settings: DetectionSettings, found: Found) -> None:
    """The shopper has been silent until `at`: say what was left behind, or that nothing changed since it was said."""
    visit, state.visit, state.judged, state.open = state.visit, None, state.last_activity, {}
    viewed = visit.viewed if visit is not None else []
    if state.cart is not None:
        signalled = _judge_cart(state, state.cart, at, viewed, settings, found)
    else:
        signalled = visit is not None and _judge_browsing(state, visit, at, settings, found)
    left = state.abandonment
    if not signalled and left is not None and left.returned:
        left.returned = False
        cart = state.cart if left.kind in _OF_CARTS else None
        found.signal(_about(state, "shopper_idle", at, left.episode, state.last_activity, cart=cart, viewed=viewed))


def _judge_cart(state: DetectionState, cart: Cart, at: EventTime, viewed: list[str], settings: DetectionSettings, found: Found) -> bool:
    kind, episode = _kind(state), str(cart.version)
    if Signalled(kind, episode) in state.signalled or Signalled(CHECKOUT, episode) in state.signalled:
        return False
    if cart.value < settings.least_value(cart.currency):
        why_not: str | None = "below_minimum"
    elif settings.watch_products and nothing_left(state, cart):
        why_not = "out_of_stock"
    else:
        why_not = _why_not(state, kind, at, settings)
    if why_not is not None:
        found.outcomes.append((kind, why_not))
        return False
    _abandoned(state, _about(state, kind, at, episode, episode, cart=cart, viewed=viewed), settings, found)
    return True


def _judge_browsing(state: DetectionState, visit: Visit, at: EventTime, settings: DetectionSettings, found: Found) -> bool:
    bought = visit.orders > 0 or state.order_mark >= visit.started_at
    if bought or not visit.viewed or Signalled(BROWSE, visit.session_id) in state.signalled:
        return False
    why_not = _why_not(state, BROWSE, at, settings)
    if why_not is not None:
        found.outcomes.append((BROWSE, why_not))
        return False
    _abandoned(state, _about(state, BROWSE, at, visit.session_id, visit.session_id, viewed=visit.viewed), settings, found)
    return True


def _why_not(state: DetectionState, kind: str, at: EventTime, settings: DetectionSettings) -> str | None:
    """The guards that every kind of abandonment has."""
    if state.order_mark and at - state.order_mark < settings.no_abandonment_after_order_s * SECOND:
        return "recent_order"
    last = state.signalled_at.get(kind)
    return "cooldown" if last is not None and at - last < settings.abandonment_cooldown_s * SECOND else None


def _abandoned(state: DetectionState, signal: Signal, settings: DetectionSettings, found: Found) -> None:
    episode = signal.episode or ""
    state.abandonment = Abandonment(signal.kind, episode, signal.at)
    state.signalled = [*state.signalled, Signalled(signal.kind, episode)][-SIGNALLED_LIMIT:]
    if settings.abandonment_cooldown_s:
        state.signalled_at[signal.kind] = signal.at
    found.signal(signal)


def _about(
    state: DetectionState,
    kind: str,
    at: EventTime,
    episode: str,
    cause: object,
    *,
    cart: Cart | None = None,
    order: Order | None = None,
    viewed: list[str] | None = None,
    amount: float | None = None,
) -> Signal:
    """`cause` is what makes the signal's id: the same cause gives the same id."""
    return Signal(
        id=signal_id(kind, state.customer_id, episode, cause),
        kind=kind,
        customer_id=state.customer_id,
        at=at,
        last_activity=state.last_activity,
        episode=episode,
        cart=cart,
        order=order,
        viewed=list(viewed or []),
        amount=amount,
    )

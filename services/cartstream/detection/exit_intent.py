"""How likely it is that a shopper is leaving: a sum of named contributions, so that every score explains itself.

The browser only hints (ouibounce: the pointer leaves above the top 20 px; use-exit-intent: idle, back, tab hidden on
mobile); the weights below are ours. A pointer that leaves is often wrong, so at the default threshold it needs a cart or an
engaged visit beside it; going back is enough alone. Where a trained model is configured, it takes the place of the weights and of their
threshold: see `intent`.
"""

from __future__ import annotations

from cartstream.detection.intent.live import in_checkout, live_features
from cartstream.detection.intent.model import bounded
from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import LATCH_LIMIT, DetectionState, Found, Latch, short, signal_id
from cartstream.events.records import Activity, Cart, ExitHint, Session, Signal
from cartstream.events.times import EventTime

TRIGGER_WEIGHTS = {"back_press": 0.5, "pointer_top_exit": 0.45, "scroll_up_fast": 0.35, "tab_hidden": 0.3, "idle": 0.2}
CART_WEIGHT = 0.2
CART_VALUE_WEIGHT = 0.1
CHECKOUT_WEIGHT = 0.15
PAGE_WEIGHT, PAGES_IN_FULL = 0.05, 5
DWELL_WEIGHT, DWELL_IN_FULL_MS = 0.05, 60_000
SCROLL_WEIGHT = 0.05


def score_exit(
    hint: ExitHint, session: Session, cart: Cart | None, checkout_started: bool, dwell_ms: int, settings: DetectionSettings
) -> tuple[float, dict[str, float]]:
    """The score in [0, 1], and what each fact contributed (zeros left out)."""
    contributions = {
        f"trigger_{hint.trigger}" if hint.trigger in TRIGGER_WEIGHTS else "trigger_unknown": TRIGGER_WEIGHTS.get(hint.trigger, 0.0),
        "cart_not_empty": CART_WEIGHT if cart is not None else 0.0,
        "cart_value": CART_VALUE_WEIGHT * _share(cart.value if cart is not None else 0.0, settings.exit_cart_value),
        "checkout_started": CHECKOUT_WEIGHT if checkout_started else 0.0,
        "page_views": PAGE_WEIGHT * _share(session.page_views, PAGES_IN_FULL),
        "dwell": DWELL_WEIGHT * _share(dwell_ms, DWELL_IN_FULL_MS),
        "scroll": SCROLL_WEIGHT * _share(hint.scroll_pct or 0.0, 100.0),
    }
    rounded = {name: share for name, part in contributions.items() if (share := round(part, 4)) > 0}
    return min(1.0, round(sum(rounded.values()), 4)), rounded


def _share(value: float, full: float) -> float:
    return min(max(value / full, 0.0), 1.0)


def judge_exit(state: DetectionState, known: DetectionState, activity: Activity, settings: DetectionSettings, found: Found) -> None:
    """Signal an exit intent, or count why not. `known` is the customer as of the exit, `state` takes the latch."""
    hint, session = activity.exit, activity.session
    if hint is None or session is None:
        return found.outcomes.append(("exit_intent", "no_session"))
    dwell_ms = dwell_of(hint, activity, session)
    why_not = _why_not(state, known, session, dwell_ms, settings)
    if why_not is not None:
        return found.outcomes.append(("exit_intent", why_not))
    model = settings.intent
    if model is None:
        threshold = settings.exit_threshold
        score, contributions = score_exit(hint, session, activity.cart, in_checkout(known, activity), dwell_ms, settings)
    else:
        threshold, explained = model.threshold, model.explain(live_features(known, activity, hint, session))
        score, contributions = round(explained.probability, 4), bounded(explained.contributions)
    if score < threshold:
        return found.outcomes.append(("exit_intent", "below_threshold"))
    state.latches = [*state.latches, Latch(short(session.session_id), activity.at)][-LATCH_LIMIT:]
    return found.signal(_exit_signal(state.customer_id, activity, session, score, contributions))


def dwell_of(hint: ExitHint, activity: Activity, session: Session) -> EventTime:
    """As the browser measured it, else since the session began."""
    return hint.dwell_ms if hint.dwell_ms is not None else activity.at - session.started_at


def bought(known: DetectionState, session: Session) -> bool:
    """In this session, or on another device while it lasted: then no exit counts."""
    return session.orders > 0 or known.order_mark >= session.started_at


def _why_not(
    state: DetectionState, known: DetectionState, session: Session, dwell_ms: EventTime, settings: DetectionSettings
) -> str | None:
    if bought(known, session):
        return "already_bought"
    if any(latch.session_id == short(session.session_id) for latch in state.latches):
        return "already_signalled"
    return "not_armed" if dwell_ms < settings.exit_armed_after_ms else None


def _exit_signal(customer_id: str, activity: Activity, session: Session, score: float, contributions: dict[str, float]) -> Signal:
    return Signal(
        id=signal_id("exit_intent", customer_id, session.session_id),
        kind="exit_intent",
        customer_id=customer_id,
        at=activity.at,
        last_activity=activity.at,
        episode=session.session_id,
        cart=activity.cart,
        session_id=session.session_id,
        viewed=list(session.viewed),
        score=score,
        contributions=contributions,
    )

"""What a live session tells the model, at the moment of an exit hint. Labelling and scoring both take it from here."""

from __future__ import annotations

from cartstream.detection.intent.model import IntentModel, Value
from cartstream.detection.state import DetectionState
from cartstream.events.records import Activity, ExitHint, Session
from cartstream.events.times import DAY, HOUR, MINUTE, SECOND

LIVE = (
    "trigger",
    "dwell_seconds",
    "scroll_pct",
    "session_minutes",
    "page_views",
    "product_views",
    "other_events",
    "looked_again",
    "cart_items",
    "cart_value",
    "in_checkout",
    "visits_before",
    "bought_before",
    "hour",
    "weekday",
    "device",
)
_THURSDAY = 3


def in_checkout(known: DetectionState, activity: Activity) -> bool:
    """A checkout was started with what is in the cart."""
    return activity.cart is not None and known.checkout_at >= max(known.began_at, 1)


def live_features(known: DetectionState, activity: Activity, hint: ExitHint, session: Session) -> dict[str, Value]:
    """By the names of `LIVE`. `known` is the customer as of the exit.

    Times are UTC; `cart_value` is in the cart's own currency. `other_events` are steps of cart and checkout, and exit hints before this
    one. `visits_before` and `looked_again` (products seen more than once within a week) are None where the activity has no habits.
    `bought_before` is an order that detection still remembers. `device` is what the hint was given on, as its own event says.
    """
    cart, habits = activity.cart, activity.habits
    products = max(session.product_views, len(session.viewed))
    return {
        "trigger": hint.trigger,
        "dwell_seconds": None if hint.dwell_ms is None else hint.dwell_ms / SECOND,
        "scroll_pct": hint.scroll_pct,
        "session_minutes": (activity.at - session.started_at) / MINUTE,
        "page_views": float(session.page_views),
        "product_views": float(products),
        "other_events": float(max(session.events - session.page_views - products - 1, 0)),
        "looked_again": None if habits is None else float(sum(look.views > 1 for look in habits.recent)),
        "cart_items": 0.0 if cart is None else float(sum(item.quantity for item in cart.items)),
        "cart_value": 0.0 if cart is None else cart.value,
        "in_checkout": float(in_checkout(known, activity)),
        "visits_before": None if habits is None else float(habits.visits),
        "bought_before": float(known.order_mark > 0),
        "hour": float(activity.at % DAY // HOUR),
        "weekday": float((activity.at // DAY + _THURSDAY) % 7),
        "device": hint.device,
    }


def unknown_features(model: IntentModel) -> list[str]:
    """What the model wants to know and no live session tells."""
    return [axis.name for axis in model.axes if axis.name not in LIVE]

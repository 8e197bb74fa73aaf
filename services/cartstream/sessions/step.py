"""The rules of sessions and carts, pure.

Sources: Segment e-commerce spec v2 for the events; 30 minutes without activity (Snowplow, GA) for sessions; the larger
quantity wins when two carts join (commercetools), since that is safe to repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from cartstream.events import topics
from cartstream.events.clicks import Action, Click, Properties
from cartstream.events.read_model import Guard
from cartstream.events.read_model import encode as encode_guard
from cartstream.events.records import Activity, Customer, ExitHint, Handover, Merge, make_id
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output, Step
from cartstream.sessions import cart
from cartstream.sessions.state import CustomerState, Visit

SERVICE = "sessions"
TRIGGER_LIMIT = 64
_NO_PROPERTIES = Properties()


@dataclass(frozen=True, slots=True)
class SessionRules:
    """All in milliseconds of event time."""

    gap: EventTime
    limit: EventTime
    keep: EventTime


class ClickEvent(msgspec.Struct, gc=False):
    """A click of a known customer. `raw` is what to pass on if the customer turns out to be merged."""

    customer_id: str
    device_id: str
    at: EventTime
    message_id: str
    action: Action
    click: Click
    raw: bytes


Event = ClickEvent | Customer | Merge | Handover


def step(state: CustomerState | None, event: Event, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    """Apply one record of a customer.

    A late event (one whose session would already be over) neither opens nor stretches a session; it still corrects the cart.
    """
    if isinstance(event, ClickEvent):
        if state is None:
            state = CustomerState(event.customer_id)
        elif state.merged_into is not None:
            return _keep(state, rules, [Output(topics.IDENTIFIED, state.merged_into, event.raw)])
        return _click(state, event, watermark, rules)
    if isinstance(event, Merge):
        return _hand_over(state or CustomerState(event.loser), event, rules)
    if isinstance(event, Handover):
        return _receive(state or CustomerState(event.survivor), event, rules)
    state = state or CustomerState(event.customer_id)
    if state.merged_into is not None:
        return _keep(state, rules, [])  # the survivor has its own record since the merge: this one must not overwrite its consent
    return _keep(state, rules, [Output(topics.ACTIVITY, event.customer_id, event)])


def wake(state: CustomerState, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    """End the sessions that are over, and forget a customer who has been silent for long."""
    over = sorted((_ends_at(visit, rules), visit.session_id, visit) for visit in state.visits if _ends_at(visit, rules) <= watermark)
    outputs = [_end(state, visit, ends_at) for ends_at, _, visit in over]
    if not state.visits and state.last_activity + rules.keep <= watermark:
        return Step(None, outputs)
    return _keep(state, rules, outputs)


def _click(state: CustomerState, event: ClickEvent, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    if not state.first_time(event.message_id):
        return Step(state, wake_at=_next_wake(state, rules), outcomes=[("record", "duplicate")])
    outputs: list[Output] = []
    if event.action is Action.SILENT:
        return _keep(state, rules, [])
    visit = _visit_of(state, event.device_id, event.at, rules)
    late = visit is None and event.at + rules.gap <= watermark
    if visit is None and not late:
        visit = Visit(event.device_id, _session_id(event), event.at, event.at)
        state.visits.append(visit)
        outputs.append(_activity(state, "session_started", f"{visit.session_id}:started", event.at, visit))
    if visit is not None:
        told = visit.session_id
        _attend(visit, event, watermark)
        if visit.session_id != told:  # it began before what was told: whoever acts in event order takes the earlier
            outputs.append(_activity(state, "session_started", f"{visit.session_id}:started", event.at, visit))
        visit = _join_visits(state, visit, rules)
        if event.at > state.last_activity:
            state.last_activity = event.at
    if event.action > Action.VIEW:
        return _shop(state, event, visit, outputs, rules)
    return Step(state, outputs, _next_wake(state, rules), outcomes=_LATE if late else _ON_TIME)


def _session_id(event: ClickEvent) -> str:
    return make_id("session", event.device_id, event.at)


_LATE = [("record", "late")]
_ON_TIME: list[tuple[str, str]] = []


def _visit_of(state: CustomerState, device_id: str, at: EventTime, rules: SessionRules) -> Visit | None:
    """The device's session that an event at this time belongs to: no gap on either side, and not over the limit."""
    for visit in state.visits:
        if (
            visit.device_id == device_id
            and visit.started_at - rules.gap <= at <= visit.last_at + rules.gap
            and at < visit.started_at + rules.limit
        ):
            return visit
    return None


def _attend(visit: Visit, event: ClickEvent, watermark: EventTime) -> None:
    visit.events += 1
    if event.at < visit.started_at:
        visit.started_at = event.at
        if event.at > watermark:  # so the id does not depend on who came first; a late event changes no id that was acted upon
            visit.session_id = _session_id(event)
    if event.at > visit.last_at:
        visit.last_at = event.at
    if event.action is Action.PAGE:
        visit.page_views += 1
    elif event.action is Action.VIEW:
        product_id = cart.product_id_of(event.click.properties or _NO_PROPERTIES)
        if product_id:
            visit.view(product_id, event.at)
    elif event.action is Action.ORDER:
        visit.orders += 1


def _shop(state: CustomerState, event: ClickEvent, visit: Visit | None, outputs: list[Output], rules: SessionRules) -> Step[CustomerState]:
    """Carts, checkouts, orders and exit hints."""
    properties = event.click.properties or _NO_PROPERTIES
    changed = cart.apply(state, event.action, properties, event.at)
    kind: str | None = None
    details: dict[str, Any] = {}
    if event.action is Action.ORDER:
        state.checkout_at = 0
        kind, details = "order_placed", {"order": cart.order_of(properties)}
    elif event.action is Action.CHECKOUT:
        kind = "checkout_started" if state.checkout_at <= state.order_mark else None
        state.checkout_at = max(state.checkout_at, event.at)
    elif event.action is Action.EXIT and visit is not None:
        kind, details = (
            "exit_signal",
            {"exit": ExitHint((properties.trigger or "unknown")[:TRIGGER_LIMIT], properties.dwell_ms, properties.scroll_pct)},
        )
    elif changed:
        kind = "cart_updated" if state.lines else "cart_emptied"
        state.checkout_at = state.checkout_at if state.lines else 0
    if kind is not None:
        outputs.append(_activity(state, kind, f"{event.message_id}:{kind}", event.at, visit, **details))
    guarded = changed or event.action is Action.ORDER
    return Step(state, outputs, _next_wake(state, rules), _guard(state) if guarded else None, outcomes=_LATE if visit is None else _ON_TIME)


def _hand_over(state: CustomerState, event: Merge, rules: SessionRules) -> Step[CustomerState]:
    """The loser's sessions and cart go to the survivor; what stays is a tombstone that forwards."""
    if state.merged_into is not None:
        return _keep(state, rules, [])
    handover = Handover(SERVICE, event.loser, event.survivor, event.at, msgspec.msgpack.encode(state))
    outputs = [Output(topics.ACTIVITY, event.loser, event), Output(topics.IDENTIFIED, event.survivor, handover)]
    last = max(state.last_activity, event.at)
    tombstone = CustomerState(event.loser, last_activity=last, order_mark=state.order_mark, merged_into=event.survivor)
    return _keep(tombstone, rules, outputs, _guard(tombstone))


def _receive(state: CustomerState, event: Handover, rules: SessionRules) -> Step[CustomerState]:
    if event.service != SERVICE:
        return _keep(state, rules, [])
    if state.merged_into is not None:
        moved = msgspec.structs.replace(event, survivor=state.merged_into)
        return _keep(state, rules, [Output(topics.IDENTIFIED, state.merged_into, moved)])
    other = msgspec.msgpack.decode(event.state, type=CustomerState)
    for visit in other.visits:
        state.visits.append(visit)
        _join_visits(state, visit, rules)
    state.last_activity = max(state.last_activity, other.last_activity)
    state.checkout_at = max(state.checkout_at, other.checkout_at)
    state.absorb_seen(other.seen)
    outputs = []
    if cart.join(state, other):
        at = max(event.at, state.last_activity)
        kind = "cart_updated" if state.lines else "cart_emptied"
        outputs.append(_activity(state, kind, make_id(kind, event.loser, event.survivor, event.at), at, None))
    return _keep(state, rules, outputs, _guard(state))


def _join_visits(state: CustomerState, visit: Visit, rules: SessionRules) -> Visit:
    """A late event, or a handover, may close the gap between two sessions of a device: then they are one. Returns it."""
    if len(state.visits) == 1:
        return visit
    for other in [known for known in state.visits if known.device_id == visit.device_id and known is not visit]:
        first, second = sorted((visit, other), key=lambda known: (known.started_at, known.session_id))
        if second.started_at <= first.last_at + rules.gap and second.last_at < first.started_at + rules.limit:
            first.last_at = max(first.last_at, second.last_at)
            first.events += second.events
            first.orders += second.orders
            first.page_views += second.page_views
            for product_id, at in second.viewed.items():
                first.view(product_id, at)
            state.visits.remove(second)
            visit = first
    return visit


def _keep(
    state: CustomerState, rules: SessionRules, outputs: list[Output], read_model: tuple[str, bytes] | None = None
) -> Step[CustomerState]:
    return Step(state, outputs, _next_wake(state, rules), read_model)


def _next_wake(state: CustomerState, rules: SessionRules) -> EventTime:
    visits = state.visits
    if len(visits) == 1:
        return _ends_at(visits[0], rules)
    if visits:
        return min([_ends_at(visit, rules) for visit in visits])
    return state.last_activity + rules.keep


def _ends_at(visit: Visit, rules: SessionRules) -> EventTime:
    """From here on no event can belong to the session any more."""
    return min(visit.last_at + rules.gap, visit.started_at + rules.limit)


def _end(state: CustomerState, visit: Visit, at: EventTime) -> Output:
    """Says nothing of the customer but the session: when it is told, later events may or may not have come."""
    state.visits.remove(visit)
    ended = Activity(f"{visit.session_id}:ended", "session_ended", state.customer_id, at, visit.last_at, visit.device_id, visit.facts())
    return Output(topics.ACTIVITY, state.customer_id, ended)


def _activity(state: CustomerState, kind: str, id: str, at: EventTime, visit: Visit | None, **details: Any) -> Output:
    latest = max(at, state.last_activity)
    device_id, facts = (visit.device_id, visit.facts()) if visit else (None, None)
    return Output(
        topics.ACTIVITY, state.customer_id, Activity(id, kind, state.customer_id, at, latest, device_id, facts, state.cart(), **details)
    )


def _guard(state: CustomerState) -> tuple[str, bytes]:
    guard = Guard(state.order_mark, state.version, not state.lines, state.merged_into)
    return f"guard:{state.customer_id}", encode_guard(guard)

"""The rules of sessions and carts, pure: what each record of a customer changes and tells.

Sources: Segment e-commerce spec v2 for the events; 30 minutes without activity (Snowplow, GA) for sessions.
"""

from __future__ import annotations

from cartstream.events import topics
from cartstream.events.clicks import Action, Properties
from cartstream.events.devices import device_kind
from cartstream.events.records import Activity, ExitHint, Habits, Handover, Merge, Split
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output, Step
from cartstream.sessions import cart, changes, habits
from cartstream.sessions.handover import begin_anew, forget, guard_of, hand_over, passed_on, receive
from cartstream.sessions.incoming import ClickEvent, Event, RepairedEvent
from cartstream.sessions.state import CustomerState, Visit
from cartstream.sessions.views import View, by_product
from cartstream.sessions.visits import ON_TIME, SessionRules, end, ends_at, keep, next_wake, visit_of

TRIGGER_LIMIT = 64
_NO_PROPERTIES = Properties()
_SILENT, _VIEW, _EXIT = Action.SILENT, Action.VIEW, Action.EXIT
_LATE = [("record", "late")]
_REPEATED = [("record", "duplicate")]


def step(state: CustomerState | None, event: Event, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    """Apply one record of a customer.

    A late event (one whose session would already be over) neither opens nor stretches a session; it still corrects the cart.
    """
    if state is None:
        state = CustomerState(event.customer_id)
    if isinstance(event, ClickEvent):
        if state.merged_into is not None:
            return keep(state, rules, passed_on(state, event.raw))
        if event.__class__ is not ClickEvent:
            return _repaired(state, event, watermark, rules)
        return _click(state, event, watermark, rules)
    record = event.record
    if isinstance(record, Merge):
        return hand_over(state, record, rules)
    if isinstance(record, Handover):
        return receive(state, record, rules)
    if isinstance(record, Split):
        return begin_anew(state, record, rules)
    if record.erased:
        return forget(state, record, rules)
    if state.merged_into is not None:
        return keep(state, rules, [])  # the survivor has its own record since the merge: this one must not overwrite its consent
    return keep(state, rules, [Output(topics.ACTIVITY, event.customer_id, record)])


def wake(state: CustomerState, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    """End the sessions that are over, and forget a customer who has been silent for long."""
    if 0 < state.unsettled <= watermark:
        state.settle()
    over = [visit for visit in state.visits if ends_at(visit, rules) <= watermark]
    state.visits = [visit for visit in state.visits if ends_at(visit, rules) > watermark]
    outputs, outcomes = end(state, over, rules) if over else ([], ON_TIME)
    if not state.visits:
        if state.last_activity + rules.gap <= watermark:
            state.browsed = b""  # from now on they are late, repeated or not
        if state.last_activity + rules.keep <= watermark:
            return Step(None, outputs, outcomes=outcomes)
    return Step(state, outputs, next_wake(state, rules), outcomes=outcomes)


def _click(state: CustomerState, event: ClickEvent, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    action = event.action
    if action is _SILENT:
        return keep(state, rules, [])
    if _VIEW < action < _EXIT:
        return _shop(state, event, watermark, rules)
    if 0 < state.unsettled <= watermark:
        state.settle()
    if not state.first_time(event.message_id):
        return _repeated(state, rules)
    outputs: list[Output] = []
    visit = visit_of(state, event, watermark, rules, outputs)
    wake_at = None if visit is not None and not outputs else next_wake(state, rules)  # a visit that goes on ends no sooner
    if visit is not None and action is _EXIT:
        outputs.append(_exit(state, event, visit))
    return Step(state, outputs, wake_at, outcomes=_LATE if visit is None else ON_TIME)


def _repaired(state: CustomerState, event: ClickEvent, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    taken = _click(state, event, watermark, rules)
    repairs = event.repairs if isinstance(event, RepairedEvent) else ()
    taken.outcomes = [*taken.outcomes, *(("repaired", reason) for reason in repairs)]
    return taken


def _repeated(state: CustomerState, rules: SessionRules) -> Step[CustomerState]:
    return Step(state, wake_at=next_wake(state, rules), changed=False, outcomes=_REPEATED)


def _shop(state: CustomerState, event: ClickEvent, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    """Carts, checkouts and orders."""
    if 0 < state.unsettled <= watermark:
        state.settle()
    basket, waiting = state.open()
    if not basket.first_time(event.message_id):
        return _repeated(state, rules)
    outputs: list[Output] = []
    visit = visit_of(state, event, watermark, rules, outputs)
    device_id = visit.device_id if visit is not None else None
    repairs: list[str] = []
    change = cart.change_of(event.action, event.click.properties or _NO_PROPERTIES, event.at, event.message_id, device_id, repairs)
    told = changes.take(basket, waiting, change, watermark)
    state.put(basket, waiting)
    outputs += [_told(state, one) for one in told]
    outcomes = _LATE if visit is None else ON_TIME
    if len(told) > 1:
        outcomes = [*outcomes, ("cart", "corrected")]
    if repairs:
        outcomes = [*outcomes, ("repaired", "out_of_range")]
    if told:
        state.guard = guard_of(basket)
    return Step(state, outputs, next_wake(state, rules), outcomes=outcomes)


def _told(state: CustomerState, told: changes.Told) -> Output:
    change = told.change
    latest = max(change.at, state.last_activity)
    order = change.order if told.kind == "order_placed" else None
    activity = Activity(told.id, told.kind, state.customer_id, change.at, latest, change.device_id, cart=told.cart, order=order)
    return Output(topics.ACTIVITY, state.customer_id, activity)


def _exit(state: CustomerState, event: ClickEvent, visit: Visit) -> Output:
    """Told with what is known by now: the answer cannot wait."""
    hints = event.click.properties or _NO_PROPERTIES
    hint = ExitHint((hints.trigger or "unknown")[:TRIGGER_LIMIT], hints.dwell_ms, hints.scroll_pct, device_kind(event.raw))
    latest, known = max(event.at, state.last_activity), changes.cart_at(*state.open(), event.at)
    id = f"{event.message_id}:exit_signal"
    looks = visit.looks()
    facts, lately = visit.facts(looks), _lately(state, event.at, visit, looks)
    activity = Activity(id, "exit_signal", state.customer_id, event.at, latest, visit.device_id, facts, known, hint, habits=lately)
    return Output(topics.ACTIVITY, state.customer_id, activity)


def _lately(state: CustomerState, at: EventTime, visit: Visit, looks: list[View]) -> Habits:
    """With the looks and searches of all that are here now; `looks` are those of `visit`."""
    learnt = habits.NONE if state.habits is None else habits.unpacked(state.habits)
    if len(state.visits) == 1:
        return habits.known(learnt, at, looks, visit.searches())
    everything = by_product([look for each in state.visits for look in each.looks()])
    return habits.known(learnt, at, everything, [search for each in state.visits for search in each.searches()])

"""The rules of sessions and carts, pure.

Sources: Segment e-commerce spec v2 for the events; 30 minutes without activity (Snowplow, GA) for sessions; the larger
quantity wins when two carts join (commercetools), since that is safe to repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cartstream.events import topics
from cartstream.events.clicks import Action, Click, Properties
from cartstream.events.devices import device_kind
from cartstream.events.read_model import ERASED, Guard
from cartstream.events.records import Activity, Customer, ExitHint, Habits, Handover, Merge, Session, Split, make_id
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output, Step
from cartstream.sessions import cart, changes, habits, layouts
from cartstream.sessions.basket import SEEN_LIMIT, Basket, both
from cartstream.sessions.state import BROWSED_LIMIT, CustomerState, Visit
from cartstream.sessions.views import View, by_product

SERVICE = "sessions"
TRIGGER_LIMIT = 64
_EVERYTHING = ""
"""No product's id. In a cart's marks of removals: a split, which took away visits and habits as well."""
_NO_PROPERTIES = Properties()
_SILENT, _PAGE, _VIEW, _ORDER, _EXIT, _SEARCH = Action.SILENT, Action.PAGE, Action.VIEW, Action.ORDER, Action.EXIT, Action.SEARCH
_LATE = [("record", "late")]
_REPEATED = [("record", "duplicate")]
_ON_TIME: list[tuple[str, str]] = []


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


class RepairedEvent(ClickEvent, gc=False):
    """A click with something mended or left out. `repairs`: why, of `events.properties.PROPERTY_REPAIRS`."""

    repairs: tuple[str, ...] = ()


class ControlEvent(msgspec.Struct, gc=False):
    """What identity, or another partition, says of a customer."""

    customer_id: str
    record: Customer | Merge | Handover | Split


Event = ClickEvent | ControlEvent


def step(state: CustomerState | None, event: Event, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    """Apply one record of a customer.

    A late event (one whose session would already be over) neither opens nor stretches a session; it still corrects the cart.
    """
    if state is None:
        state = CustomerState(event.customer_id)
    if isinstance(event, ClickEvent):
        if state.merged_into is not None:
            return _keep(state, rules, _passed_on(state, event.raw))
        if event.__class__ is not ClickEvent:
            return _repaired(state, event, watermark, rules)
        return _click(state, event, watermark, rules)
    record = event.record
    if isinstance(record, Merge):
        return _hand_over(state, record, rules)
    if isinstance(record, Handover):
        return _receive(state, record, rules)
    if isinstance(record, Split):
        return _begin_anew(state, record, rules)
    if record.erased:
        return _forget(state, record, rules)
    if state.merged_into is not None:
        return _keep(state, rules, [])  # the survivor has its own record since the merge: this one must not overwrite its consent
    return _keep(state, rules, [Output(topics.ACTIVITY, event.customer_id, record)])


def wake(state: CustomerState, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    """End the sessions that are over, and forget a customer who has been silent for long."""
    if 0 < state.unsettled <= watermark:
        state.settle()
    over = [visit for visit in state.visits if _ends_at(visit, rules) <= watermark]
    state.visits = [visit for visit in state.visits if _ends_at(visit, rules) > watermark]
    outputs, outcomes = _end(state, over, rules) if over else ([], _ON_TIME)
    if not state.visits:
        if state.last_activity + rules.gap <= watermark:
            state.browsed = b""  # from now on they are late, repeated or not
        if state.last_activity + rules.keep <= watermark:
            return Step(None, outputs, outcomes=outcomes)
    return Step(state, outputs, _next_wake(state, rules), outcomes=outcomes)


def _end(state: CustomerState, over: list[Visit], rules: SessionRules) -> tuple[list[Output], list[tuple[str, str]]]:
    """The customer's habits are told as of each end, so they do not depend on how often time passes."""
    learnt, outputs, outcomes = habits.unpacked(state.habits), [], []
    for at, _, visit in sorted([(_ends_at(visit, rules), visit.id, visit) for visit in over], key=lambda one: one[:2]):
        looks = visit.looks()
        if visit.started_at + rules.limit <= visit.last_at + rules.gap:
            outcomes.append(("session", "endless"))
        else:
            habits.learn(learnt, visit, looks)
        outputs.append(_ended(state, visit.facts(looks), at, habits.known(learnt, at)))
    state.habits = habits.packed(learnt)
    return outputs, outcomes


def _click(state: CustomerState, event: ClickEvent, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    action = event.action
    if action is _SILENT:
        return _keep(state, rules, [])
    if _VIEW < action < _EXIT:
        return _shop(state, event, watermark, rules)
    if 0 < state.unsettled <= watermark:
        state.settle()
    if not state.first_time(event.message_id):
        return _repeated(state, rules)
    outputs: list[Output] = []
    visit = _visit(state, event, watermark, rules, outputs)
    if visit is not None and action is _EXIT:
        outputs.append(_exit(state, event, visit))
    return Step(state, outputs, _next_wake(state, rules), outcomes=_LATE if visit is None else _ON_TIME)


def _repaired(state: CustomerState, event: ClickEvent, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    taken = _click(state, event, watermark, rules)
    repairs = event.repairs if isinstance(event, RepairedEvent) else ()
    taken.outcomes = [*taken.outcomes, *(("repaired", reason) for reason in repairs)]
    return taken


def _repeated(state: CustomerState, rules: SessionRules) -> Step[CustomerState]:
    return Step(state, wake_at=_next_wake(state, rules), changed=False, outcomes=_REPEATED)


def _visit(state: CustomerState, event: ClickEvent, watermark: EventTime, rules: SessionRules, outputs: list[Output]) -> Visit | None:
    """The session that the event belongs to, with the event counted. None: it would be over already."""
    at, device_id, gap = event.at, event.device_id, rules.gap
    for visit in state.visits:  # no gap on either side, and not over the limit
        if visit.device_id == device_id and at <= visit.last_at + gap and visit.started_at - gap <= at < visit.started_at + rules.limit:
            break
    else:
        if at + gap <= watermark:
            return None
        visit = Visit(device_id, "", at, at)
        state.visits.append(visit)
        outputs.append(_started(state, visit))
    if at > visit.last_at:
        visit.last_at = at
    elif at < visit.started_at:
        told = visit.id
        visit.begin_at(at, watermark)
        if visit.id != told:  # it began before what was told: whoever acts in event order takes the earlier
            outputs.append(_started(state, visit))
    _count(visit, event)
    if at > state.last_activity:
        state.last_activity = at
    return visit if len(state.visits) == 1 else _join_visits(state, visit, rules)


def _count(visit: Visit, event: ClickEvent) -> None:
    action = event.action
    visit.events += 1
    if action is _PAGE:
        visit.page_views += 1
    elif action is _VIEW:
        properties = event.click.properties or _NO_PROPERTIES
        product_id = cart.product_id_of(properties)
        if product_id:
            visit.view(product_id, event.at, properties.price, properties.currency)
    elif action is _ORDER:
        visit.orders += 1
    elif action is _SEARCH:
        visit.search((event.click.properties or _NO_PROPERTIES).query or "", event.at)


def _shop(state: CustomerState, event: ClickEvent, watermark: EventTime, rules: SessionRules) -> Step[CustomerState]:
    """Carts, checkouts and orders."""
    if 0 < state.unsettled <= watermark:
        state.settle()
    basket, waiting = state.open()
    if not basket.first_time(event.message_id):
        return _repeated(state, rules)
    outputs: list[Output] = []
    visit = _visit(state, event, watermark, rules, outputs)
    device_id = visit.device_id if visit is not None else None
    repairs: list[str] = []
    change = cart.change_of(event.action, event.click.properties or _NO_PROPERTIES, event.at, event.message_id, device_id, repairs)
    told = changes.take(basket, waiting, change, watermark)
    state.put(basket, waiting)
    outputs += [_told(state, one) for one in told]
    outcomes = _LATE if visit is None else _ON_TIME
    if len(told) > 1:
        outcomes = [*outcomes, ("cart", "corrected")]
    if repairs:
        outcomes = [*outcomes, ("repaired", "out_of_range")]
    if told:
        state.guard = _guard(basket)
    return Step(state, outputs, _next_wake(state, rules), outcomes=outcomes)


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


def _hand_over(state: CustomerState, event: Merge, rules: SessionRules) -> Step[CustomerState]:
    """The loser's sessions and cart go to the survivor; what stays is a tombstone that forwards."""
    if state.merged_into is not None:
        return _keep(state, rules, [])
    basket, _ = state.open()
    state.settle()
    handover = Handover(SERVICE, event.loser, event.survivor, event.at, layouts.encode_state(state))
    outputs = [Output(topics.ACTIVITY, event.loser, event), Output(topics.IDENTIFIED, event.survivor, handover)]
    tombstone = CustomerState(event.loser, last_activity=max(state.last_activity, event.at), merged_into=event.survivor)
    tombstone.guard = Guard(basket.order_mark, merged_into=event.survivor)
    return _keep(tombstone, rules, outputs)


def _passed_on(state: CustomerState, value: bytes | Handover) -> list[Output]:
    """To the survivor; what comes for an erased customer ends here."""
    return [Output(topics.IDENTIFIED, state.merged_into, value)] if state.merged_into else []


def _forget(state: CustomerState, event: Customer, rules: SessionRules) -> Step[CustomerState]:
    """What stays of an erased customer is a tombstone that takes nothing any more. Sessions that were over before are told of."""
    outputs, outcomes = _end_until(state, event.at, rules)
    tombstone = CustomerState(
        event.customer_id, Guard(merged_into=ERASED), last_activity=max(state.last_activity, event.at), merged_into=ERASED
    )
    outputs.append(Output(topics.ACTIVITY, event.customer_id, event))
    return Step(tombstone, outputs, _next_wake(tombstone, rules), outcomes=[*outcomes, ("customer", "erased")])


def _begin_anew(state: CustomerState, event: Split, rules: SessionRules) -> Step[CustomerState]:
    """The cart and the visits may be somebody else's: of what was known only the purchases stay, and no older change comes back."""
    state.settle()
    basket, waiting = state.open()
    if state.merged_into is not None or basket.removed.get(_EVERYTHING, 0) >= event.at:
        return _keep(state, rules, [])
    outputs, outcomes = _end_until(state, event.at, rules)
    removed = {_EVERYTHING: event.at}
    emptied = Basket(
        removed=removed, cleared_at=event.at, version=event.at, order_mark=basket.order_mark, seen=basket.seen, ordered=basket.ordered
    )
    left = CustomerState(event.customer_id, _guard(emptied), last_activity=max(state.last_activity, event.at))
    left.put(emptied, waiting)
    outputs.append(Output(topics.ACTIVITY, event.customer_id, event))
    return Step(left, outputs, _next_wake(left, rules), outcomes=[*outcomes, ("customer", "split")])


def _end_until(state: CustomerState, at: EventTime, rules: SessionRules) -> tuple[list[Output], list[tuple[str, str]]]:
    """The sessions that are over by then are told of."""
    over = [visit for visit in state.visits if _ends_at(visit, rules) <= at]
    return _end(state, over, rules) if over else ([], _ON_TIME)


def _receive(state: CustomerState, event: Handover, rules: SessionRules) -> Step[CustomerState]:
    """A merge acts when it is read, on both carts as they are then."""
    if event.service != SERVICE:
        return _keep(state, rules, [])
    if state.merged_into is not None:
        return _keep(state, rules, _passed_on(state, msgspec.structs.replace(event, survivor=state.merged_into)))
    other = layouts.decode_state(event.state)
    split_at = state.open()[0].removed.get(_EVERYTHING, 0)
    if event.at <= split_at:  # on its way to the customer when that was split
        other.visits, other.habits = [visit for visit in other.visits if visit.started_at > split_at], None
    for visit in other.visits:
        state.visits.append(visit)
        _join_visits(state, visit, rules)
    state.last_activity = max(state.last_activity, other.last_activity)
    state.browsed = both(other.browsed, state.browsed, BROWSED_LIMIT)
    if other.habits is not None:
        learnt = habits.unpacked(state.habits)
        habits.join(learnt, habits.unpacked(other.habits))
        state.habits = habits.packed(learnt)
    state.settle()
    (basket, waiting), (theirs, _) = state.open(), other.open()
    basket.seen = both(theirs.seen, basket.seen, SEEN_LIMIT)
    outputs = []
    if cart.join(basket, theirs):
        at = max(event.at, state.last_activity)
        kind = "cart_updated" if basket.lines else "cart_emptied"
        id = make_id(kind, event.loser, event.survivor, event.at)
        joined = Activity(id, kind, state.customer_id, at, at, cart=cart.snapshot(basket))
        outputs.append(Output(topics.ACTIVITY, state.customer_id, joined))
    state.put(basket, waiting)
    state.guard = _guard(basket)
    return _keep(state, rules, outputs)


def _join_visits(state: CustomerState, visit: Visit, rules: SessionRules) -> Visit:
    """A late event, or a handover, may close the gap between two sessions of a device: then they are one. Returns it."""
    for other in [known for known in state.visits if known.device_id == visit.device_id and known is not visit]:
        first, second = sorted((visit, other), key=lambda known: (known.started_at, known.id))
        if second.started_at <= first.last_at + rules.gap and second.last_at < first.started_at + rules.limit:
            first.absorb(second)
            state.visits = [known for known in state.visits if known is not second]
            visit = first
    return visit


def _keep(state: CustomerState, rules: SessionRules, outputs: list[Output]) -> Step[CustomerState]:
    return Step(state, outputs, _next_wake(state, rules))


def _next_wake(state: CustomerState, rules: SessionRules) -> EventTime:
    visits = state.visits
    if len(visits) == 1:
        return _ends_at(visits[0], rules)
    if visits:
        return min([_ends_at(visit, rules) for visit in visits])
    return state.last_activity + rules.keep


def _ends_at(visit: Visit, rules: SessionRules) -> EventTime:
    """From here on no event can belong to the session any more."""
    silent_at, too_long_at = visit.last_at + rules.gap, visit.started_at + rules.limit
    return silent_at if silent_at < too_long_at else too_long_at


def _started(state: CustomerState, visit: Visit) -> Output:
    facts, at = visit.facts(), visit.started_at
    started = Activity(f"{facts.session_id}:started", "session_started", state.customer_id, at, at, visit.device_id, facts)
    return Output(topics.ACTIVITY, state.customer_id, started)


def _ended(state: CustomerState, facts: Session, at: EventTime, lately: Habits) -> Output:
    id = f"{facts.session_id}:ended"
    ended = Activity(id, "session_ended", state.customer_id, at, facts.ended_at, facts.device_id, facts, habits=lately)
    return Output(topics.ACTIVITY, state.customer_id, ended)


def _guard(basket: Basket) -> Guard:
    return Guard(basket.order_mark, basket.version, not basket.lines)

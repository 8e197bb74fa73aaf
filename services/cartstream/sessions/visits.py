"""A customer's sessions: which one an event belongs to, when it begins, when it is over. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from cartstream.events import topics
from cartstream.events.clicks import Action, Properties
from cartstream.events.records import Activity, Habits, Session
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output, Step
from cartstream.sessions import cart, habits
from cartstream.sessions.incoming import ClickEvent
from cartstream.sessions.state import CustomerState, Visit

_NO_PROPERTIES = Properties()
ON_TIME: list[tuple[str, str]] = []
_PAGE, _VIEW, _ORDER, _SEARCH = Action.PAGE, Action.VIEW, Action.ORDER, Action.SEARCH


@dataclass(frozen=True, slots=True)
class SessionRules:
    """All in milliseconds of event time."""

    gap: EventTime
    limit: EventTime
    keep: EventTime


def visit_of(state: CustomerState, event: ClickEvent, watermark: EventTime, rules: SessionRules, outputs: list[Output]) -> Visit | None:
    """The session that the event belongs to, with the event counted. None: it would be over already."""
    at, device_id, gap = event.at, event.device_id, rules.gap
    since = at - gap
    for visit in state.visits:  # no gap on either side, and not over the limit
        if since <= visit.last_at and visit.device_id == device_id and visit.started_at - gap <= at < visit.started_at + rules.limit:
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
    return visit if len(state.visits) == 1 else join_visits(state, visit, rules)


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


def join_visits(state: CustomerState, visit: Visit, rules: SessionRules) -> Visit:
    """A late event, or a handover, may close the gap between two sessions of a device: then they are one. Returns it."""
    gap, limit = rules.gap, rules.limit
    for other in state.visits:
        if other.last_at + gap < visit.started_at or visit.last_at + gap < other.started_at:
            continue
        if other is visit or other.device_id != visit.device_id:
            continue
        first, second = sorted((visit, other), key=lambda known: (known.started_at, known.id))
        if second.last_at < first.started_at + limit:
            first.absorb(second)
            state.visits = [known for known in state.visits if known is not second]
            visit = first
    return visit


def end(state: CustomerState, over: list[Visit], rules: SessionRules) -> tuple[list[Output], list[tuple[str, str]]]:
    """The customer's habits are told as of each end, so they do not depend on how often time passes."""
    learnt, outputs, outcomes = habits.unpacked(state.habits), [], []
    for at, _, visit in sorted([(ends_at(visit, rules), visit.id, visit) for visit in over], key=lambda one: one[:2]):
        looks = visit.looks()
        if visit.started_at + rules.limit <= visit.last_at + rules.gap:
            outcomes.append(("session", "endless"))
        else:
            habits.learn(learnt, visit, looks)
        outputs.append(_ended(state, visit.facts(looks), at, habits.known(learnt, at)))
    state.habits = habits.packed(learnt)
    return outputs, outcomes


def end_until(state: CustomerState, at: EventTime, rules: SessionRules) -> tuple[list[Output], list[tuple[str, str]]]:
    """The sessions that are over by then are told of."""
    over = [visit for visit in state.visits if ends_at(visit, rules) <= at]
    return end(state, over, rules) if over else ([], ON_TIME)


def next_wake(state: CustomerState, rules: SessionRules) -> EventTime:
    visits = state.visits
    if len(visits) == 1:
        return ends_at(visits[0], rules)
    if visits:
        return min([ends_at(visit, rules) for visit in visits])
    return state.last_activity + rules.keep


def ends_at(visit: Visit, rules: SessionRules) -> EventTime:
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


def keep(state: CustomerState, rules: SessionRules, outputs: list[Output]) -> Step[CustomerState]:
    return Step(state, outputs, next_wake(state, rules))

"""Customers who turn out to be one, or not to be one, or who are to be forgotten. Pure.

The larger quantity wins when two carts join (commercetools), since that is safe to repeat.
"""

from __future__ import annotations

import msgspec

from cartstream.events import topics
from cartstream.events.read_model import ERASED, Guard
from cartstream.events.records import Activity, Customer, Handover, Merge, Split, make_id
from cartstream.runtime.stage import Output, Step
from cartstream.sessions import cart, habits, layouts
from cartstream.sessions.basket import SEEN_LIMIT, Basket, both
from cartstream.sessions.state import BROWSED_LIMIT, CustomerState
from cartstream.sessions.visits import SessionRules, end_until, join_visits, keep, next_wake

SERVICE = "sessions"
_EVERYTHING = ""
"""No product's id. In a cart's marks of removals: a split, which took away visits and habits as well."""


def hand_over(state: CustomerState, event: Merge, rules: SessionRules) -> Step[CustomerState]:
    """The loser's sessions and cart go to the survivor; what stays is a tombstone that forwards."""
    if state.merged_into is not None:
        return keep(state, rules, [])
    basket, _ = state.open()
    state.settle()
    handover = Handover(SERVICE, event.loser, event.survivor, event.at, layouts.encode_state(state))
    outputs = [Output(topics.ACTIVITY, event.loser, event), Output(topics.IDENTIFIED, event.survivor, handover)]
    tombstone = CustomerState(event.loser, last_activity=max(state.last_activity, event.at), merged_into=event.survivor)
    tombstone.guard = Guard(basket.order_mark, merged_into=event.survivor)
    return keep(tombstone, rules, outputs)


def passed_on(state: CustomerState, value: bytes | Handover) -> list[Output]:
    """To the survivor; what comes for an erased customer ends here."""
    return [Output(topics.IDENTIFIED, state.merged_into, value)] if state.merged_into else []


def forget(state: CustomerState, event: Customer, rules: SessionRules) -> Step[CustomerState]:
    """What stays of an erased customer is a tombstone that takes nothing any more. Sessions that were over before are told of."""
    outputs, outcomes = end_until(state, event.at, rules)
    tombstone = CustomerState(
        event.customer_id, Guard(merged_into=ERASED), last_activity=max(state.last_activity, event.at), merged_into=ERASED
    )
    outputs.append(Output(topics.ACTIVITY, event.customer_id, event))
    return Step(tombstone, outputs, next_wake(tombstone, rules), outcomes=[*outcomes, ("customer", "erased")])


def begin_anew(state: CustomerState, event: Split, rules: SessionRules) -> Step[CustomerState]:
    """The cart and the visits may be somebody else's: of what was known only the purchases stay, and no older change comes back."""
    state.settle()
    basket, waiting = state.open()
    if state.merged_into is not None or basket.removed.get(_EVERYTHING, 0) >= event.at:
        return keep(state, rules, [])
    outputs, outcomes = end_until(state, event.at, rules)
    removed = {_EVERYTHING: event.at}
    emptied = Basket(
        removed=removed, cleared_at=event.at, version=event.at, order_mark=basket.order_mark, seen=basket.seen, ordered=basket.ordered
    )
    left = CustomerState(event.customer_id, guard_of(emptied), last_activity=max(state.last_activity, event.at))
    left.put(emptied, waiting)
    outputs.append(Output(topics.ACTIVITY, event.customer_id, event))
    return Step(left, outputs, next_wake(left, rules), outcomes=[*outcomes, ("customer", "split")])


def receive(state: CustomerState, event: Handover, rules: SessionRules) -> Step[CustomerState]:
    """A merge acts when it is read, on both carts as they are then."""
    if event.service != SERVICE:
        return keep(state, rules, [])
    if state.merged_into is not None:
        return keep(state, rules, passed_on(state, msgspec.structs.replace(event, survivor=state.merged_into)))
    other = layouts.decode_state(event.state)
    split_at = state.open()[0].removed.get(_EVERYTHING, 0)
    if event.at <= split_at:  # on its way to the customer when that was split
        other.visits, other.habits = [visit for visit in other.visits if visit.started_at > split_at], None
    for visit in other.visits:
        state.visits.append(visit)
        join_visits(state, visit, rules)
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
    state.guard = guard_of(basket)
    return keep(state, rules, outputs)


def guard_of(basket: Basket) -> Guard:
    return Guard(basket.order_mark, basket.version, not basket.lines)

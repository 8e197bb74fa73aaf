"""The rules of the hot path, pure: whose is this event?"""

from __future__ import annotations

import msgspec

from cartstream.events import topics
from cartstream.events.records import Identifier, RefusedLink
from cartstream.events.times import EventTime
from cartstream.identity.contacts import Found
from cartstream.identity.nodes import Linked, Refusal, identifier_name
from cartstream.identity.state import DeviceState, anonymous_customer, shared_customer
from cartstream.runtime.stage import Output, Step


class IdentityEvent(msgspec.Struct, gc=False):
    """A click on its way in. `forward` is what goes on: the same bytes, or without the addresses that it held.

    `linked` is the directory's answer, for an event that brings something new; `refused` tells of what it set aside.
    """

    device_id: str
    event_id: str
    at: EventTime
    forward: bytes
    user: str | None = None
    identifiers: list[Identifier] | None = None
    found: Found | None = None
    linked: Linked | None = None
    refused: list[RefusedLink] | None = None


def step(
    state: DeviceState | None, event: IdentityEvent, survivors: dict[str, str], refresh_after: EventTime
) -> Step[DeviceState] | Output:
    """Give the event its customer. `survivors` tells of merges found elsewhere."""
    if (
        state is not None
        and event.identifiers is None
        and not state.shared
        and state.first_seen <= event.at <= state.seen_at + refresh_after
        and state.customer_id not in survivors
    ):
        return Output(topics.IDENTIFIED, state.customer_id, event.forward)
    return _step(state, event, survivors, refresh_after)


def _step(state: DeviceState | None, event: IdentityEvent, survivors: dict[str, str], refresh_after: EventTime) -> Step[DeviceState]:
    changed = state is None
    if state is None:
        state = DeviceState(event.device_id, anonymous_customer(event.device_id), event.at, event.at)
    outcomes: list[tuple[str, str]] = []
    if event.at < state.first_seen:
        state.first_seen, changed = event.at, True
        outcomes = [("late_link", "first_event")] if state.links else []
    if event.linked is not None:
        return _learn(state, event, event.linked, outcomes)
    customer_id = _customer_of(state, event)
    survivor = survivors.get(customer_id)
    if survivor is not None:
        changed = True
        state.links = {name: survivors.get(owner, owner) for name, owner in state.links.items()}
        state.customer_id = survivors.get(state.customer_id, state.customer_id)
        customer_id = survivor
    if event.at - state.seen_at > refresh_after:
        state.seen_at, changed = event.at, True
    return Step(state, [Output(topics.IDENTIFIED, customer_id, event.forward)], changed=changed, outcomes=outcomes)


def _customer_of(state: DeviceState, event: IdentityEvent) -> str:
    if event.user is not None:
        return state.links[event.user]
    return shared_customer(state.device_id) if state.shared else state.customer_id


def _learn(state: DeviceState, event: IdentityEvent, linked: Linked, outcomes: list[tuple[str, str]]) -> Step[DeviceState]:
    home = state.customer_id
    for merge in linked.merges:
        state.links = {name: merge.survivor if owner == merge.loser else owner for name, owner in state.links.items()}
    set_aside = {refusal.identifier for refusal in linked.refused}
    for identifier in event.identifiers or ():
        if identifier not in set_aside:
            state.links[identifier_name(identifier)] = linked.customer_id
    if event.user is not None:
        state.links[event.user] = linked.customer_id
    state.seen_at, state.linked_at = max(state.seen_at, event.at), max(state.linked_at, event.at)
    outcomes += [("late_link", kind) for kind in linked.late]
    outcomes += [outcome for refusal in linked.refused for outcome in _counted(refusal)]
    if linked.owns_device and not state.shared:
        state.customer_id = linked.customer_id
    elif not linked.owns_device:
        state.shared = True
    outputs = [Output(topics.AUDIT, refused.customer_id, refused) for refused in event.refused or ()]
    for merge in linked.merges:
        outputs += [Output(topics.MERGES, merge.loser, merge), Output(topics.IDENTIFIED, merge.loser, merge)]
        outcomes.append(("merge", merge.identifier_type))
    if linked.customer is not None:
        outputs += [
            Output(topics.CUSTOMERS, linked.customer_id, linked.customer),
            Output(topics.IDENTIFIED, linked.customer_id, linked.customer),
        ]
    # Where the device's session is: a loser hands that over and then forwards, so the two arrive in order.
    moved = any(merge.loser == home for merge in linked.merges)
    outputs.append(Output(topics.IDENTIFIED, home if moved else linked.customer_id, event.forward))
    return Step(state, outputs, outcomes=outcomes)


def _counted(refusal: Refusal) -> list[tuple[str, str]]:
    found = [("identifier_refused", refusal.identifier.type), ("link_refused", refusal.reason)]
    return [*found, ("late_link", refusal.identifier.type)] if refusal.late else found

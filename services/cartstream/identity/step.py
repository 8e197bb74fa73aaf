"""The rules of the hot path, pure: whose is this event?"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from cartstream.events import topics
from cartstream.events.records import CorrectedCustomer, Customer, Identifier, RefusedLink, Split
from cartstream.events.times import EventTime
from cartstream.identity.contacts import Found
from cartstream.identity.correction import Corrected, Correction, Unlink
from cartstream.identity.nodes import Linked, Refusal, identifier_name, left_out
from cartstream.identity.state import DeviceState, after_erasure, after_unlink, anonymous_customer, erased_at, shared_customer
from cartstream.runtime.stage import Output, Step

_ERASED = [("erased", "late_event")]


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


class CorrectionEvent(IdentityEvent, gc=False):
    """A correction, under a key of its own; `corrected` is the directory's answer."""

    correction: Correction | None = None
    corrected: Corrected | None = None
    told: list[CorrectedCustomer] = []


class DeviceNotice(IdentityEvent, gc=False):
    """The same correction for one of the devices that it names."""

    of: CorrectionEvent | None = None


def step(
    state: DeviceState | None,
    event: IdentityEvent,
    survivors: dict[str, str],
    refresh_after: EventTime,
    erased: Mapping[str, EventTime] = MappingProxyType({}),
) -> Step[DeviceState] | Output:
    """Give the event its customer. `survivors` tells of merges and erasures found elsewhere, `erased` when those were."""
    if (
        state is not None
        and event.identifiers is None
        and not state.shared
        and state.first_seen <= event.at <= state.seen_at + refresh_after
        and state.customer_id not in survivors
    ):
        return Output(topics.IDENTIFIED, state.customer_id, event.forward)
    if event.__class__ is not IdentityEvent:
        return _tell(event) if isinstance(event, CorrectionEvent) else _notice(state, event)
    return _step(state, event, survivors, refresh_after, erased)


def _step(
    state: DeviceState | None, event: IdentityEvent, survivors: dict[str, str], refresh_after: EventTime, erased: Mapping[str, EventTime]
) -> Step[DeviceState]:
    changed = state is None
    if state is None:
        state = DeviceState(event.device_id, anonymous_customer(event.device_id), event.at, event.at)
    elif state.links or erased:
        for customer_id in {state.customer_id, *state.links.values()} & erased.keys() if erased else ():
            changed |= after_erasure(state, (customer_id,), erased[customer_id])
        if event.linked is None and event.user not in state.links and event.at <= erased_at(state):
            return Step(state, changed=changed, outcomes=_ERASED)
    outcomes: list[tuple[str, str]] = []
    if event.at < state.first_seen and event.at > erased_at(state):
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
    identifiers = event.identifiers or []
    out = left_out(identifiers, linked)
    state.links |= {name: linked.customer_id for name in map(identifier_name, identifiers) if name not in out}
    if linked.erased_at:
        return _forgotten(state, event, linked, home)
    state.seen_at, state.linked_at = max(state.seen_at, event.at), max(state.linked_at, event.at)
    outcomes += [("late_link", kind) for kind in linked.late]
    outcomes += [outcome for refusal in linked.refused for outcome in _counted(refusal)]
    if linked.owns_device and not state.shared:
        state.customer_id = linked.customer_id
    elif not linked.owns_device and not linked.apart:
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


def _forgotten(state: DeviceState, event: IdentityEvent, linked: Linked, home: str) -> Step[DeviceState]:
    """It is from before an erasure. Whoever it shows to be the same customer is erased, too."""
    if linked.owns_device:
        after_erasure(state, (home, linked.customer_id), linked.erased_at)
    else:
        after_erasure(state, (linked.customer_id,), linked.erased_at)
        state.shared = True
    outputs = [Output(topics.AUDIT, refused.customer_id, refused) for refused in event.refused or ()]
    for merge in linked.merges:
        outputs += _gone(merge.loser, linked.erased_at)
    return Step(state, outputs, outcomes=[*_ERASED, *([("erasure", "found_late")] * len(linked.merges))])


def _gone(customer_id: str, at: EventTime) -> list[Output]:
    """A record that says nothing: the customer was erased."""
    nothing = Customer(customer_id, at)
    return [Output(topics.CUSTOMERS, customer_id, nothing), Output(topics.IDENTIFIED, customer_id, nothing)]


def _tell(event: CorrectionEvent) -> Step[DeviceState]:
    corrected, correction = event.corrected, event.correction
    if corrected is None or correction is None or correction.copy:
        return Step(None, changed=False)
    customer_id, at = corrected.customer_id, corrected.at
    outputs = [Output(topics.AUDIT, customer_id, told) for told in event.told]
    if isinstance(correction, Unlink):
        outputs += [Output(topics.IDENTIFIED, split, Split(split, at, event.event_id)) for split in corrected.customers]
        for record in corrected.records:
            outputs += [Output(topic, record.customer_id, record) for topic in (topics.CUSTOMERS, topics.IDENTIFIED)]
        done = "repeated" if corrected.again else "done" if corrected.customers else "nothing_to_split"
        return Step(None, outputs, changed=False, outcomes=[("unlink", done)])
    outputs += _gone(customer_id, at)
    outputs += [Output(topics.CUSTOMERS, loser, Customer(loser, at)) for loser in corrected.customers if loser != customer_id]
    return Step(None, outputs, changed=False, outcomes=[("erasure", "repeated" if corrected.again else "done")])


def _notice(state: DeviceState | None, event: IdentityEvent) -> Step[DeviceState]:
    corrected = event.of.corrected if isinstance(event, DeviceNotice) and event.of is not None else None
    if state is not None and corrected is not None and corrected.places:
        return Step(state, changed=after_unlink(state, corrected.places))
    changed = state is not None and corrected is not None and after_erasure(state, corrected.customers, corrected.at)
    return Step(state, changed=changed)


def _counted(refusal: Refusal) -> list[tuple[str, str]]:
    found = [("identifier_refused", refusal.identifier.type), ("link_refused", refusal.reason)]
    return [*found, ("late_link", refusal.identifier.type)] if refusal.late else found

"""The steps of journeys, pure: what comes in waits for the watermark, an exit intent excepted.

Records and due steps are taken strictly in event order, so a step that is due at D is decided by what had happened by D and
nothing later. What happens after it is decided (a purchase, a revoked consent) is for the sender's last look.
"""

from __future__ import annotations

from bisect import insort_right

import msgspec

from cartstream.events import topics
from cartstream.events.read_model import ERASED
from cartstream.events.records import ChannelFailed, Customer, Handover, Merge, Signal, Split
from cartstream.events.times import EventTime
from cartstream.journeys import handover
from cartstream.journeys.definition import Journeys
from cartstream.journeys.entry import apply_signal, enter, stop
from cartstream.journeys.message import NOT_AGAIN_FOR, act, due_at
from cartstream.journeys.state import (
    HISTORY_LIMIT,
    PENDING_LIMIT,
    Entered,
    Entry,
    Failed,
    Findings,
    JourneyState,
    Profile,
    Waiting,
    copy_of,
    decode_state,
    encode_state,
    order_key,
    waiting,
)
from cartstream.runtime.stage import Output, Step

SERVICE = "journeys"
_SPLIT = ""
"""No journey's name: entered when the customer was split."""
NEVER: EventTime = 2**62
Event = Signal | Customer | ChannelFailed | Merge | Handover | Split


class Rules(msgspec.Struct, frozen=True):
    """The journeys, and how long a silent customer is remembered (ms)."""

    journeys: Journeys
    keep_ms: int


def step(state: JourneyState | None, event: Event, watermark: EventTime, rules: Rules) -> Step[JourneyState]:
    """Apply one record of a customer."""
    if isinstance(event, Merge):
        return _hand_over(state or JourneyState(event.loser), event, rules)
    if isinstance(event, Handover):
        return _receive(state, event, watermark, rules)
    if isinstance(event, Split):
        return _begin_anew(state, event, rules)
    if state is not None and state.merged_into is not None:
        return _forward(state, event, state.merged_into, rules)
    found = Findings()
    state = state or JourneyState(event.customer_id)
    if isinstance(event, Signal) and any(journey.at_once and journey.trigger == event.kind for journey in rules.journeys.journeys):
        _at_once(state, event, rules, found)
    else:
        _wait(state, waiting(event), found)
    while len(state.pending) > PENDING_LIMIT:
        found.outcomes.append(("pending", "applied_early"))
        state = advance(state, state.pending[0].at, rules, found)
    return _step(advance(state, watermark, rules, found), rules, found)


def wake(state: JourneyState, watermark: EventTime, rules: Rules) -> Step[JourneyState]:
    """Do all that the watermark has passed, then forget a customer of whom nothing was heard for long."""
    found = Findings()
    state = advance(state, watermark, rules, found)
    if not state.pending and not state.entries and _kept_until(state, rules) <= watermark:
        return Step(None, found.outputs, outcomes=found.outcomes)
    return _step(state, rules, found)


def advance(state: JourneyState, until: EventTime, rules: Rules, found: Findings) -> JourneyState:
    """Everything up to and including `until`, in event order. At the same time records come before steps."""
    while True:
        record_at = state.pending[0].at if state.pending else NEVER
        due, entry = _first_due(state, rules.journeys)
        if min(record_at, due) > until:
            _forget(state, until, rules.journeys)
            return state
        if record_at <= due:
            if record_at >= state.applied_at + _keep(rules):
                state = JourneyState(state.customer_id, state.pending, sent=state.sent, entered=state.entered)
            _apply(state, state.pending.pop(0), rules.journeys, found)
            state.applied_at = max(state.applied_at, record_at)
        elif entry is not None:
            act(state, entry, due, rules.journeys, found)
            state.applied_at = max(state.applied_at, due)


def _first_due(state: JourneyState, rules: Journeys) -> tuple[EventTime, Entry | None]:
    due = [(due_at(entry, rules), entry.journey, entry.episode, entry) for entry in state.entries]
    first = min(due, key=lambda one: one[:3], default=None)
    return (first[0], first[3]) if first is not None else (NEVER, None)


def _apply(state: JourneyState, record: Waiting, rules: Journeys, found: Findings) -> None:
    if record.signal is not None:
        apply_signal(state, record.signal, rules, found)
    elif record.customer is not None:
        _take_customer(state, record.customer, found)
    elif record.failure is not None:
        known, failed = state.failed.get(record.failure.channel), Failed(record.failure.reason, record.at)
        outdone = known is not None and (known.at > failed.at or (known.reason == "opted_out" and failed.reason != "opted_out"))
        if not outdone:
            state.failed[record.failure.channel] = failed


def _take_customer(state: JourneyState, customer: Customer, found: Findings) -> None:
    """The record in force from now on. A newer address may work where the old one was dead; an opt-out stays."""
    before = state.profile
    if customer.erased:
        _erase(state, customer.at, found)
        return
    if customer.merged_into is not None or (before is not None and customer.at < before.at):
        found.outcomes.append(("customer", "not_in_force"))
        return
    for channel in customer.channels:
        failed = state.failed.get(channel)
        if failed is not None and failed.reason == "recipient_dead" and customer.at > failed.at:
            del state.failed[channel]
    had_consent = before is not None and any(before.consent.values())
    state.profile = Profile(customer.at, dict(customer.consent), list(customer.channels), customer.timezone, customer.locale)
    if had_consent and not any(customer.consent.values()):
        stop(state, customer.at, "consent_revoked", found)


def _erase(state: JourneyState, at: EventTime, found: Findings) -> None:
    """What stays is a tombstone that takes nothing any more."""
    stop(state, at, "erased", found)
    state.pending, state.profile, state.failed, state.ordered, state.order_mark = [], None, {}, {}, 0
    state.sent, state.entered, state.wrong_sends, state.merged_into = [], [], [], ERASED


def _wait(state: JourneyState, record: Waiting, found: Findings) -> None:
    if any(known.id == record.id and known.at == record.at for known in state.pending):
        found.outcomes.append(("record", "duplicate"))
    else:
        insort_right(state.pending, record, key=order_key)


def _at_once(state: JourneyState, signal: Signal, rules: Rules, found: Findings) -> None:
    """Decided by what is known to have happened up to the signal; only the message and the entry are noted, nothing runs ahead."""
    known = advance(copy_of(state), signal.at, rules, Findings())
    sent, entered = set(known.sent), set(known.entered)
    for journey in rules.journeys.journeys:
        if journey.trigger == signal.kind:
            entry = enter(known, signal, journey, rules.journeys, found)
            if entry is not None:
                act(known, entry, signal.at, rules.journeys, found)
    state.sent = [*state.sent, *(one for one in known.sent if one not in sent)][-HISTORY_LIMIT:]
    state.entered = [*state.entered, *(one for one in known.entered if one not in entered)][-HISTORY_LIMIT:]


def _forward(state: JourneyState, event: Signal | Customer | ChannelFailed, survivor: str, rules: Rules) -> Step[JourneyState]:
    """A merged customer's own record says nothing about the survivor: identity speaks for both. An erased one has none."""
    found = Findings()
    if not survivor:
        found.outcomes.append(("record", "of_erased"))
    elif isinstance(event, Customer):
        found.outcomes.append(("customer", "of_merged"))
    else:
        found.outputs.append(Output(topics.SIGNALS, survivor, msgspec.structs.replace(event, customer_id=survivor)))
    return _step(state, rules, found)


def _hand_over(state: JourneyState, event: Merge, rules: Rules) -> Step[JourneyState]:
    """What is known of the loser goes to the survivor; what stays is a tombstone that forwards."""
    found = Findings()
    if state.merged_into is not None or event.loser == event.survivor:
        found.outcomes.append(("merge", "repeated"))
        return _step(state, rules, found)
    parcel = Handover(SERVICE, event.loser, event.survivor, event.at, encode_state(state))
    found.outputs.append(Output(topics.SIGNALS, event.survivor, parcel))
    found.outcomes.append(("merge", "handed_over"))
    return _step(JourneyState(event.loser, applied_at=max(event.at, state.applied_at), merged_into=event.survivor), rules, found)


def _begin_anew(state: JourneyState | None, event: Split, rules: Rules) -> Step[JourneyState]:
    """All that led to a signal up to then has come before: steps that were due are decided, then every journey ends."""
    found = Findings()
    if state is not None and state.merged_into is None:
        state = advance(state, event.at, rules, found)
        stop(state, event.at, "unlinked", found)
        state.entered.append(Entered(event.at, _SPLIT, event.event_id))
    return _step(state, rules, found)


def _receive(state: JourneyState | None, event: Handover, watermark: EventTime, rules: Rules) -> Step[JourneyState]:
    found = Findings()
    if event.service != SERVICE:
        found.outcomes.append(("handover", "not_ours"))
        return _step(state, rules, found)
    if state is not None and state.merged_into is not None:
        moved = msgspec.structs.replace(event, survivor=state.merged_into)
        if state.merged_into:
            found.outputs.append(Output(topics.SIGNALS, state.merged_into, moved))
        return _step(state, rules, found)
    try:
        other = decode_state(event.state)
    except msgspec.MsgspecError:
        found.outcomes.append(("handover", "unreadable"))
        return _step(state, rules, found)
    found.outcomes.append(("handover", "received"))
    state = handover.join(state or JourneyState(event.survivor), other, event, rules.journeys, found)
    split_at = max((known.at for known in state.entered if known.journey == _SPLIT), default=0)
    if event.at <= split_at:  # on its way to the customer when that was split
        stop(state, split_at, "unlinked", found, lambda entry: entry.at <= split_at)
    return _step(advance(state, watermark, rules, found), rules, found)


def _forget(state: JourneyState, until: EventTime, rules: Journeys) -> None:
    """History that no rule can ask for any more."""
    oldest = until - rules.remember_ms
    state.sent = [sent for sent in state.sent if sent.at > oldest]
    state.entered = [known for known in state.entered if known.at > oldest]
    state.ordered = {product: at for product, at in state.ordered.items() if at > until - NOT_AGAIN_FOR}


def _step(state: JourneyState | None, rules: Rules, found: Findings) -> Step[JourneyState]:
    return Step(state, found.outputs, _wake_at(state, rules) if state is not None else None, outcomes=found.outcomes)


def _wake_at(state: JourneyState, rules: Rules) -> EventTime:
    due, _ = _first_due(state, rules.journeys)
    first = min(due, state.pending[0].at if state.pending else NEVER)
    return first if first < NEVER else _kept_until(state, rules)


def _kept_until(state: JourneyState, rules: Rules) -> EventTime:
    return max(state.applied_at, *(sent.at for sent in state.sent), *(known.at for known in state.entered), 0) + _keep(rules)


def _keep(rules: Rules) -> int:
    return max(rules.keep_ms, rules.journeys.remember_ms)

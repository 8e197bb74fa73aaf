"""The steps of detection, pure: what comes in waits for the watermark, unless it cannot wait.

Purchases stop messages and exits need an answer while the shopper is still there: both are handled on arrival. Whatever
decides an abandonment waits in the state until the watermark has passed it, so arrival order and speed change nothing.
"""

from __future__ import annotations

from bisect import insort

import msgspec

from cartstream.detection import abandonment, handover, notes, wants
from cartstream.detection.exit_intent import judge_exit
from cartstream.detection.settings import DetectionSettings
from cartstream.detection.state import (
    NEVER,
    PENDING_LIMIT,
    DetectionState,
    Found,
    Parcel,
    copy_of,
    decode_state,
    encode_state,
    order_key,
    signal_id,
)
from cartstream.events import topics
from cartstream.events.read_model import ERASED
from cartstream.events.records import Activity, Customer, Handover, Merge, Note, Signal, Split
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output, Step

SERVICE = "detection"
_SPLIT = "split"
"""Beside the kinds of signals: when the customer was split."""
Event = Activity | Customer | Merge | Handover | Note | Split


def step(state: DetectionState | None, event: Event, watermark: EventTime, settings: DetectionSettings) -> Step[DetectionState]:
    """Apply one record of a customer."""
    match event:
        case Activity():
            return _activity(state, event, watermark, settings)
        case Customer() if event.erased:
            return _forget(state or DetectionState(event.customer_id), event, settings)
        case Customer():
            return _step(state, settings, [Output(topics.SIGNALS, event.customer_id, event)], Found())
        case Split():
            return _begin_anew(state or DetectionState(event.customer_id), event, settings)
        case Merge():
            return _hand_over(state or DetectionState(event.loser), event, settings)
        case Handover():
            return _receive(state, event, watermark, settings)
        case Note():
            return _hear(state, event, watermark, settings)


def wake(state: DetectionState, watermark: EventTime, settings: DetectionSettings) -> Step[DetectionState]:
    """Apply and judge all that the watermark has passed, then forget a customer who has been silent for long."""
    found = Found()
    state = advance(state, watermark, settings, found, may_wait=True)
    if (
        not state.pending
        and not state.parcels
        and not state.told
        and abandonment.due_at(state, settings) is None
        and _kept_until(state, settings) <= watermark
    ):
        return Step(None, _publish(found), outcomes=found.outcomes)
    return _step(state, settings, _publish(found), found)


def advance(
    state: DetectionState, until: EventTime, settings: DetectionSettings, found: Found, *, may_wait: bool = False
) -> DetectionState:
    """Everything up to and including `until`, in event order. At the same time another customer's state comes first, then records, then
    products' changes, then the judgement; that of a cart `may_wait` for what is known of its products."""
    while True:
        parcel_at = state.parcels[0].at if state.parcels else NEVER
        record_at = state.pending[0].at if state.pending else NEVER
        told_at = state.told[0].at if state.told else NEVER
        due = abandonment.due_at(state, settings)
        judge_at = due if due is not None else NEVER
        if min(parcel_at, record_at, told_at, judge_at) > until:
            return state
        if may_wait and judge_at < min(parcel_at, record_at, told_at) and _waits(state, until, settings):
            return state
        if parcel_at <= min(record_at, told_at, judge_at):
            state = _join(state, state.parcels.pop(0), settings, found)
        elif record_at <= min(told_at, judge_at):
            if record_at >= state.applied_at + settings.keep_ms:
                state = DetectionState(state.customer_id, state.pending, latches=state.latches, parcels=state.parcels)
            activity = state.pending.pop(0)
            abandonment.apply(state, activity, found)
            if settings.watch_products:
                wants.follow(state, activity, settings, found)
        elif told_at <= judge_at:
            wants.apply(state, state.told.pop(0), settings, found)
        else:
            abandonment.judge(state, judge_at, settings, found)


def _waits(state: DetectionState, until: EventTime, settings: DetectionSettings) -> bool:
    """Whether what is in the cart can be bought was asked and is not answered yet: a matter of milliseconds, or of catching up."""
    return settings.watch_products and wants.is_waiting(state) and until < _kept_until(state, settings)


def _activity(state: DetectionState | None, event: Activity, watermark: EventTime, settings: DetectionSettings) -> Step[DetectionState]:
    if state is not None and state.merged_into is not None:
        return _step(state, settings, _passed_on(state, msgspec.structs.replace(event, customer_id=state.merged_into)), Found())
    if event.kind == "exit_signal":
        return _exit(state, event, settings)
    if event.kind == "retracted":
        return _retract(state, event, settings)
    if event.kind not in abandonment.APPLY:
        outcome = "not_needed" if event.kind == "product_viewed" else "unknown_kind"
        return _step(state, settings, [], Found(outcomes=[("activity", outcome)]))
    state, found = state or DetectionState(event.customer_id), Found()
    corrected = _withdraw(state, event.id)
    if event.kind == "order_placed" and not corrected and not _is_told(state, event):
        found.signal(_order(event))
    insort(state.pending, event, key=order_key)
    if corrected:
        found.outcomes.append(("activity", "corrected"))
    while len(state.pending) > PENDING_LIMIT:
        found.outcomes.append(("pending", "applied_early"))
        state = advance(state, state.pending[0].at, settings, found)
    state = advance(state, watermark, settings, found, may_wait=True)
    return _step(state, settings, _publish(found), found)


def _hear(state: DetectionState | None, event: Note, watermark: EventTime, settings: DetectionSettings) -> Step[DetectionState]:
    """News of a product. Who is forgotten by now does not come back for it."""
    if state is None:
        return _step(None, settings, [], Found(outcomes=[("news", "of_nobody")]))
    if state.merged_into is not None:
        return _step(state, settings, _passed_on(state, msgspec.structs.replace(event, key=state.merged_into)), Found())
    found, news = Found(), notes.body_of(event)
    if isinstance(news, notes.News):
        wants.hear(state, news)
    state = advance(state, watermark, settings, found, may_wait=True)
    return _step(state, settings, _publish(found), found)


def _withdraw(state: DetectionState, id: str) -> bool:
    """True if an activity of this id was waiting: what is told later counts."""
    kept = [known for known in state.pending if known.id != id]
    withdrawn = len(kept) < len(state.pending)
    state.pending = kept
    for place, parcel in enumerate(state.parcels):
        other = decode_state(parcel.state)
        if _withdraw(other, id):
            state.parcels[place] = msgspec.structs.replace(parcel, state=encode_state(other))
            withdrawn = True
    return withdrawn


def _retract(state: DetectionState | None, event: Activity, settings: DetectionSettings) -> Step[DetectionState]:
    withdrawn = state is not None and _withdraw(state, event.id)
    return _step(state, settings, [], Found(outcomes=[("activity", "retracted" if withdrawn else "not_needed")]))


def _order_id(event: Activity) -> str | None:
    return event.order.order_id if event.order is not None else None


def _is_told(state: DetectionState, event: Activity) -> bool:
    """True while another event of the same order waits: shops tell of one from the browser and from the server, in either order."""
    order_id = _order_id(event)
    return order_id is not None and any(_order_id(known) == order_id for known in state.pending)


def _order(event: Activity) -> Signal:
    """Told at once, so it says nothing but the order itself: what else is known depends on what has come by now."""
    id = signal_id("order_placed", event.customer_id, _order_id(event) or event.id)
    return Signal(id, "order_placed", event.customer_id, event.at, event.at, order=event.order)


def _exit(before: DetectionState | None, event: Activity, settings: DetectionSettings) -> Step[DetectionState]:
    """Judged by what is known to have happened up to the exit, without waiting for the watermark."""
    state, found = before or DetectionState(event.customer_id), Found()
    known = advance(copy_of(state), event.at, settings, Found())
    judge_exit(state, known, event, settings, found)
    return _step(state if before is not None or found.signals else None, settings, _publish(found), found)


def _hand_over(state: DetectionState, event: Merge, settings: DetectionSettings) -> Step[DetectionState]:
    """What is known of the loser goes to the survivor; what stays is a tombstone that forwards."""
    if state.merged_into is not None or event.loser == event.survivor:
        return _step(state, settings, [], Found(outcomes=[("merge", "repeated")]))
    outputs = [
        Output(topics.SIGNALS, event.loser, event),
        Output(topics.ACTIVITY, event.survivor, Handover(SERVICE, event.loser, event.survivor, event.at, encode_state(state))),
    ]
    tombstone = DetectionState(event.loser, applied_at=max(event.at, state.applied_at), merged_into=event.survivor)
    return _step(tombstone, settings, outputs, Found(outcomes=[("merge", "handed_over")]))


def _passed_on(state: DetectionState, value: Activity | Note | Handover) -> list[Output]:
    """To the survivor; what comes for an erased customer ends here."""
    return [Output(topics.ACTIVITY, state.merged_into, value)] if state.merged_into else []


def _forget(state: DetectionState, event: Customer, settings: DetectionSettings) -> Step[DetectionState]:
    """What had come due by the erasure is told, then nothing is known any more. What stays is a tombstone that takes nothing."""
    found = Found(outcomes=[("customer", "erased")])
    if state.merged_into is None:
        state = advance(state, event.at, settings, found)
    tombstone = DetectionState(event.customer_id, applied_at=max(event.at, state.applied_at), merged_into=ERASED)
    return _step(tombstone, settings, [*_publish(found), Output(topics.SIGNALS, event.customer_id, event)], found)


def _begin_anew(state: DetectionState, event: Split, settings: DetectionSettings) -> Step[DetectionState]:
    """What had come due by then is told; of what was known only purchases and what was signalled stay."""
    if state.merged_into is not None:
        return _step(state, settings, [], Found(outcomes=[("customer", "of_merged")]))
    found = Found(outcomes=[("customer", "split")])
    state = advance(state, event.at, settings, found)
    left = DetectionState(
        event.customer_id,
        state.pending,
        last_activity=state.last_activity,
        applied_at=max(event.at, state.applied_at),
        order_mark=state.order_mark,
        latches=state.latches,
        parcels=state.parcels,
        signalled_at=state.signalled_at | {_SPLIT: event.at},
    )
    return _step(left, settings, [*_publish(found), Output(topics.SIGNALS, event.customer_id, event)], found)


def _receive(state: DetectionState | None, event: Handover, watermark: EventTime, settings: DetectionSettings) -> Step[DetectionState]:
    if event.service != SERVICE:
        return _step(state, settings, [], Found(outcomes=[("handover", "not_ours")]))
    if state is not None and state.merged_into is not None:
        return _step(state, settings, _passed_on(state, msgspec.structs.replace(event, survivor=state.merged_into)), Found())
    try:
        decode_state(event.state)
    except msgspec.MsgspecError:
        return _step(state, settings, [], Found(outcomes=[("handover", "unreadable")]))
    state = state or DetectionState(event.survivor)
    if event.at <= state.signalled_at.get(_SPLIT, 0):  # on its way to the customer when that was split
        state.order_mark = max(state.order_mark, decode_state(event.state).order_mark)
        return _step(state, settings, [], Found(outcomes=[("handover", "before_split")]))
    found = Found(outcomes=[("handover", "received")])
    state.parcels = sorted({*state.parcels, Parcel(event.at, event.loser, event.state)}, key=lambda parcel: (parcel.at, parcel.loser))
    state = advance(state, watermark, settings, found, may_wait=True)
    return _step(state, settings, _publish(found), found)


def _join(state: DetectionState, parcel: Parcel, settings: DetectionSettings, found: Found) -> DetectionState:
    """From the time of the login on the two are one; what each was judged for before, each is judged for."""
    other = advance(decode_state(parcel.state), parcel.at, settings, found)
    state = handover.join(state, other, parcel.at)
    if state.open:
        abandonment.shopper_returned(state, parcel.at, found)
    if settings.watch_products:
        wants.ask(state, parcel.at, settings, found)
    return state


def _publish(found: Found) -> list[Output]:
    return [Output(topics.SIGNALS, signal.customer_id, signal) for signal in found.signals] + found.notes


def _step(state: DetectionState | None, settings: DetectionSettings, outputs: list[Output], found: Found) -> Step[DetectionState]:
    return Step(state, outputs, _wake_at(state, settings) if state is not None else None, outcomes=found.outcomes)


def _wake_at(state: DetectionState, settings: DetectionSettings) -> EventTime:
    due = abandonment.due_at(state, settings)
    waiting = [state.pending[0].at] if state.pending else []
    waiting += [state.told[0].at] if state.told else []
    waiting += [state.parcels[0].at] if state.parcels else []
    if due is not None and settings.watch_products and wants.is_waiting(state) and due < min(waiting, default=NEVER):
        return _kept_until(state, settings)  # the answer will wake the shopper
    waiting += [due] if due is not None else []
    return min(waiting, default=_kept_until(state, settings))


def _kept_until(state: DetectionState, settings: DetectionSettings) -> EventTime:
    """Open sessions keep nothing alive: a session is over within a day."""
    return max(state.applied_at, state.last_activity, *(latch.at for latch in state.latches)) + settings.keep_ms

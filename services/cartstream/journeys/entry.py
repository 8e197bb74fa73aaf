"""Entering a journey, and everything that stops, holds or re-anchors one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cartstream.events.records import Signal, make_id
from cartstream.events.times import EventTime, iso
from cartstream.journeys import wrong_send
from cartstream.journeys.definition import Journey, Journeys
from cartstream.journeys.state import HISTORY_LIMIT, ORDERED_LIMIT, Entered, Entry, Findings, JourneyState, decision


class Refusal(NamedTuple):
    rule: str
    inputs: dict[str, str]
    allowed_at: EventTime | None = None


def apply_signal(state: JourneyState, signal: Signal, rules: Journeys, found: Findings) -> None:
    """Let one signal change the state. The caller keeps event order."""
    match signal.kind:
        case "order_placed":
            _ordered(state, signal, found)
        case "cart_emptied":
            stop(state, signal.at, "cart_emptied", found, _of_carts(rules))
        case "cart_updated":
            older = _of_carts(rules)
            stop(state, signal.at, "cart_changed", found, lambda entry: older(entry) and _older_version(entry, signal))
        case "product_changed":
            stop(state, signal.at, "product_changed", found, lambda entry: _of_product(entry, signal))
        case "shopper_returned":
            _hold(state, signal.at, found)
        case "shopper_idle":
            _release(state, signal)
        case _:
            for journey in rules.journeys:
                if journey.trigger == signal.kind and not journey.at_once:
                    enter(state, signal, journey, rules, found)


def enter(state: JourneyState, signal: Signal, journey: Journey, rules: Journeys, found: Findings) -> Entry | None:
    """Start the journey, or say why not. It ends what it outranks and its own older episode."""
    episode = signal.episode or signal.id
    refusal = _refusal(state, signal, episode, journey, rules)
    if refusal is not None:
        found.decide(
            decision(
                state,
                signal.at,
                journey.name,
                "not_entered",
                refusal.rule,
                episode=episode,
                signal_id=signal.id,
                allowed_at=refusal.allowed_at,
                inputs=refusal.inputs,
            )
        )
        return None
    by = {"by": journey.name, "by_episode": episode}
    stop(state, signal.at, "outranked", found, lambda entry: entry.journey in journey.outranks, by)
    stop(state, signal.at, "newer_episode", found, lambda entry: entry.journey == journey.name, by)
    found.outcomes.append(("reach", reach(state)))
    entry = Entry(
        journey.name,
        episode,
        signal.id,
        signal.at,
        signal.last_activity,
        signal.at,
        signal.cart,
        list(signal.viewed),
        product=signal.product,
    )
    state.entries.append(entry)
    state.entered = [*state.entered, Entered(signal.at, journey.name, episode)][-HISTORY_LIMIT:]
    found.decide(decision(state, signal.at, journey.name, "entered", journey.trigger, episode=episode, signal_id=signal.id))
    return entry


def _refusal(state: JourneyState, signal: Signal, episode: str, journey: Journey, rules: Journeys) -> Refusal | None:
    if any(known.journey == journey.name and known.episode == episode for known in state.entered):
        return Refusal("already_entered", {"episode": episode})
    if state.order_mark > signal.last_activity:
        return Refusal("purchase", {"last_order": iso(state.order_mark), "last_activity": iso(signal.last_activity)})
    if held_out(state.customer_id, journey):
        return Refusal("holdout", {"holdout_percent": str(journey.holdout_percent)})
    above = sorted({entry.journey for entry in state.entries} & rules.outranked_by(journey))
    if above:
        return Refusal("outranked", {"by": above[0]})
    return _guarded(state, signal, journey)


def _guarded(state: JourneyState, signal: Signal, journey: Journey) -> Refusal | None:
    """The entry guards of the journey."""
    guards = journey.entry
    value = signal.cart.value if signal.cart is not None else 0.0
    if value < guards.min_cart_value:
        return Refusal("min_cart_value", {"cart_value": str(value), "min_cart_value": str(guards.min_cart_value)})
    if guards.no_order_within and state.order_mark and signal.at - state.order_mark < guards.no_order_within:
        return Refusal("no_order_within", {"last_order": iso(state.order_mark)}, state.order_mark + guards.no_order_within)
    last = max((sent.at for sent in state.sent if sent.journey == journey.name and sent.at <= signal.at), default=None)
    if guards.reentry_after and last is not None and signal.at - last < guards.reentry_after:
        return Refusal("reentry_after", {"last_message": iso(last)}, last + guards.reentry_after)
    return None


def reach(state: JourneyState) -> str:
    """Whether anything could be sent to the shopper at all, on whatever channel."""
    if state.profile is None:
        return "anonymous"
    working = [channel for channel in state.profile.channels if channel not in state.failed]
    if not working:
        return "unreachable"
    return "reachable" if any(state.profile.consent.get(channel) is True for channel in working) else "no_consent"


def held_out(customer_id: str, journey: Journey) -> bool:
    """The same customers every time, others for each journey."""
    return int(make_id("holdout", journey.name, customer_id)[:8], 16) / 2**32 * 100 < journey.holdout_percent


def stop(
    state: JourneyState,
    at: EventTime,
    rule: str,
    found: Findings,
    which: Callable[[Entry], bool] = lambda entry: True,
    inputs: dict[str, str] | None = None,
) -> None:
    """End the entries that `which` picks, with a decision for each."""
    for entry in [entry for entry in state.entries if which(entry)]:
        state.entries.remove(entry)
        found.decide(decision(state, at, entry.journey, "stopped", rule, episode=entry.episode, signal_id=entry.signal_id, inputs=inputs))


def _of_carts(rules: Journeys) -> Callable[[Entry], bool]:
    names = {journey.name for journey in rules.journeys if journey.of_carts}
    return lambda entry: entry.journey in names


def _of_product(entry: Entry, signal: Signal) -> bool:
    """It says of the product what is not so any more."""
    return entry.product is not None and signal.product is not None and entry.product.product_id == signal.product.product_id


def _older_version(entry: Entry, signal: Signal) -> bool:
    """An episode of a cart is its version."""
    return _version(entry.episode) < _version(signal.episode)


def _version(episode: str | None) -> int:
    return int(episode) if episode is not None and episode.isdecimal() else 0


def _ordered(state: JourneyState, signal: Signal, found: Findings) -> None:
    """A purchase ends every journey that began with something done before it; what was bought is not promoted again."""
    if signal.at not in wrong_send.purchases(state):
        wrong_send.tell(state, state.sent, [signal.at], signal.at, "late_purchase", found)
    state.order_mark = max(state.order_mark, signal.at)
    bought = set(signal.order.product_ids) if signal.order is not None else set()
    if not bought:
        bought = {item.product_id for entry in state.entries if entry.cart is not None for item in entry.cart.items}
    for product_id in sorted(bought):
        state.ordered[product_id] = max(signal.at, state.ordered.get(product_id, 0))
    while len(state.ordered) > ORDERED_LIMIT:
        del state.ordered[min(state.ordered, key=lambda product_id: (state.ordered[product_id], product_id))]
    order = {"order_at": iso(signal.at)}
    stop(state, signal.at, "purchase", found, lambda entry: entry.last_activity <= signal.at, order)


def _hold(state: JourneyState, at: EventTime, found: Findings) -> None:
    for entry in state.entries:
        if not entry.held_at:
            entry.held_at = at
            rule = "shopper_returned"
            found.decide(decision(state, at, entry.journey, "held", rule, episode=entry.episode, signal_id=entry.signal_id))


def _release(state: JourneyState, signal: Signal) -> None:
    """The shopper left again and changed nothing: delays count from the new last activity."""
    for entry in state.entries:
        entry.held_at = entry.deferred_until = 0
        entry.last_activity = max(entry.last_activity, signal.last_activity)
        entry.ready_at = max(entry.ready_at, signal.at)

"""One step of a journey when it is due: send on which channel, wait until when, or not at all, and why."""

from __future__ import annotations

from typing import NamedTuple

from cartstream.events import topics
from cartstream.events.records import Command, make_id
from cartstream.events.times import DAY, HOUR, MINUTE, EventTime, iso
from cartstream.journeys.definition import Cap, Journey, Journeys, StepRule
from cartstream.journeys.entry import stop
from cartstream.journeys.quiet import allowed_at, wall_clock, zone_of
from cartstream.journeys.state import HISTORY_LIMIT, Entry, Findings, JourneyState, Sent, decision
from cartstream.runtime.stage import Output

HOLD_LIMIT = 7 * DAY
"""A shopper who came back and of whom nothing was heard since: the message would be stale."""
NOT_AGAIN_FOR = 30 * DAY
"""What was bought is not shown again for so long."""


class Verdict(NamedTuple):
    """outcome is sent, suppressed or deferred (then `allowed_at` says until when)."""

    outcome: str
    rule: str
    inputs: dict[str, str]
    channel: str | None = None
    allowed_at: EventTime | None = None


def next_step(entry: Entry, journey: Journey) -> StepRule | None:
    return next((step for step in journey.steps if step.name not in entry.done), None)


def planned_at(entry: Entry, step: StepRule) -> EventTime:
    return max(entry.last_activity + step.after, entry.ready_at)


def due_at(entry: Entry, rules: Journeys) -> EventTime:
    """When something has to be done about the entry."""
    if entry.held_at:
        return entry.held_at + HOLD_LIMIT
    journey = rules.find(entry.journey)
    step = next_step(entry, journey) if journey is not None else None
    return max(planned_at(entry, step), entry.deferred_until) if step is not None else entry.ready_at


def act(state: JourneyState, entry: Entry, at: EventTime, rules: Journeys, found: Findings) -> None:
    """Do what is due. `at` is `due_at`; the state is what was true then."""
    journey = rules.find(entry.journey)
    step = next_step(entry, journey) if journey is not None else None
    if entry.held_at:
        return stop(state, at, "held_too_long", found, lambda known: known is entry)
    if journey is None or step is None:
        return stop(state, at, "journey_changed", found, lambda known: known is entry)
    verdict = _within_patience(_judge(state, entry, journey, step, at, rules, found), entry, journey, step)
    command = _command(state, entry, journey, step, verdict.channel, at) if verdict.outcome == "sent" and verdict.channel else None
    found.decide(
        decision(
            state,
            at,
            journey.name,
            verdict.outcome,
            verdict.rule,
            episode=entry.episode,
            signal_id=entry.signal_id,
            step=step.name,
            channel=verdict.channel,
            command_id=command.command_id if command is not None else None,
            allowed_at=verdict.allowed_at,
            inputs=verdict.inputs,
        )
    )
    if verdict.outcome == "deferred":
        entry.deferred_until = verdict.allowed_at or at
        return None
    if command is not None:
        found.outputs.append(Output(topics.commands(command.channel), state.customer_id, command))
        state.sent = [*state.sent, _sent(entry, step, command)][-HISTORY_LIMIT:]
    return _done(state, entry, journey, step, at, found)


def _done(state: JourneyState, entry: Entry, journey: Journey, step: StepRule, at: EventTime, found: Findings) -> None:
    entry.done = [*entry.done, step.name]
    entry.deferred_until = 0
    if next_step(entry, journey) is None:
        state.entries.remove(entry)
        found.decide(decision(state, at, journey.name, "finished", "all_steps_decided", episode=entry.episode, signal_id=entry.signal_id))


def _judge(state: JourneyState, entry: Entry, journey: Journey, step: StepRule, at: EventTime, rules: Journeys, found: Findings) -> Verdict:
    """Guards first, then who can be reached, then the clock, then the cap."""
    if step.guard != "none" and state.order_mark > entry.last_activity:
        return Verdict("suppressed", "purchase", {"last_order": iso(state.order_mark)})
    if step.guard == "cart" and entry.cart is None:
        return Verdict("suppressed", "cart_empty", {})
    if entry.cart is None and entry.viewed and not _to_show(state, entry, at):
        return Verdict("suppressed", "already_bought", {"viewed": str(len(entry.viewed))})
    channel = _choose(state, step)
    if isinstance(channel, Verdict):
        return channel
    return _quiet(state, journey, channel, at, rules, found) or _capped(state, channel, at, rules) or _send(state, channel)


def _to_show(state: JourneyState, entry: Entry, at: EventTime) -> list[str]:
    return [product for product in entry.viewed if at - state.ordered.get(product, -NOT_AGAIN_FOR) >= NOT_AGAIN_FOR]


def _choose(state: JourneyState, step: StepRule) -> str | Verdict:
    """The first channel of the step that reaches the customer and has their consent."""
    if state.profile is None:
        return Verdict("suppressed", "unknown_customer", {})
    reachable = [channel for channel in step.channels if channel in state.profile.channels]
    working = [channel for channel in reachable if channel not in state.failed]
    allowed = [channel for channel in working if state.profile.consent.get(channel) is True]
    if allowed:
        return allowed[0]
    inputs = {"wanted": ",".join(step.channels), "reachable": ",".join(reachable), "working": ",".join(working)}
    return Verdict("suppressed", "no_consent" if working else "channel_failed" if reachable else "unreachable", inputs)


def _quiet(state: JourneyState, journey: Journey, channel: str, at: EventTime, rules: Journeys, found: Findings) -> Verdict | None:
    quiet = rules.channels.rules_of(channel).quiet
    if quiet is None or journey.quiet == "ignore":
        return None
    zone, invalid = zone_of((state.profile.timezone if state.profile is not None else None, journey.timezone))
    if invalid:
        found.outcomes.append(("timezone", "invalid"))
    until = allowed_at(at, zone, quiet)
    if until == at:
        return None
    clock = wall_clock(at, zone)
    inputs = {"local_time": f"{clock // HOUR:02d}:{clock % HOUR // MINUTE:02d}", "timezone": zone.key}
    policy = journey.quiet or quiet.policy
    return Verdict("deferred" if policy == "defer" else "suppressed", "quiet_hours", inputs, channel, until)


def _capped(state: JourneyState, channel: str, at: EventTime, rules: Journeys) -> Verdict | None:
    cap: Cap | None = rules.channels.rules_of(channel).cap
    if cap is None:
        return None
    counted = sorted(sent.at for sent in state.sent if sent.channel == channel and at - cap.per < sent.at <= at)
    if len(counted) < cap.limit:
        return None
    inputs = {"sent_in_window": str(len(counted)), "limit": str(cap.limit), "window_s": str(cap.per // 1000)}
    outcome = "deferred" if cap.policy == "defer" else "suppressed"
    return Verdict(outcome, "cap", inputs, channel, counted[len(counted) - cap.limit] + cap.per)


def _send(state: JourneyState, channel: str) -> Verdict:
    inputs = {"last_order": iso(state.order_mark) if state.order_mark else "never"}
    return Verdict("sent", "allowed", inputs, channel)


def _within_patience(verdict: Verdict, entry: Entry, journey: Journey, step: StepRule) -> Verdict:
    """A message that would have to wait too long, or past the next step, is dropped instead of deferred."""
    if verdict.outcome != "deferred" or verdict.allowed_at is None:
        return verdict
    planned = planned_at(entry, step)
    following = next((later for later in journey.steps if later.after > step.after), None)
    if journey.at_once:
        reason = "sent at once or never"
    elif following is not None and verdict.allowed_at >= planned_at(entry, following):
        reason = "overtaken by the next step"
    elif verdict.allowed_at - planned > journey.defer_at_most:
        reason = "longer than defer_at_most"
    else:
        return verdict
    return verdict._replace(outcome="suppressed", inputs={**verdict.inputs, "not_deferred": reason})


def _sent(entry: Entry, step: StepRule, command: Command) -> Sent:
    about = 0 if step.guard == "none" else entry.cart.version if entry.cart is not None else entry.last_activity
    return Sent(command.at, command.channel, entry.journey, entry.episode, step.name, about, entry.signal_id, command.command_id)


def _command(state: JourneyState, entry: Entry, journey: Journey, step: StepRule, channel: str, at: EventTime) -> Command:
    return Command(
        command_id=make_id("command", state.customer_id, journey.name, entry.episode, step.name),
        customer_id=state.customer_id,
        channel=channel,
        journey=journey.name,
        step=step.name,
        template=step.template,
        at=at,
        expires_at=at + step.expires_after,
        guard=step.guard,
        order_mark=state.order_mark,
        cart=entry.cart,
        viewed=_to_show(state, entry, at),
        offer=step.offer,
        locale=state.profile.locale if state.profile is not None else None,
        cause_at=at,
        product=entry.product,
    )

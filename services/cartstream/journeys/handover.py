"""Two customers turned out to be one: join their journeys. Safe to repeat."""

from __future__ import annotations

from cartstream.events.records import Handover
from cartstream.events.times import EventTime, iso
from cartstream.journeys import wrong_send
from cartstream.journeys.definition import Journeys
from cartstream.journeys.entry import stop
from cartstream.journeys.state import HISTORY_LIMIT, Entry, Failed, Findings, JourneyState, Profile, Sent, order_key


def join(mine: JourneyState, other: JourneyState, event: Handover, rules: Journeys, found: Findings) -> JourneyState:
    """The survivor's state: both histories, both waiting lists; a purchase on either side stops the journeys of both."""
    pending = {(record.at, record.id): record for record in other.pending if record.customer is None}
    pending |= {(record.at, record.id): record for record in mine.pending}
    joined = JourneyState(
        customer_id=mine.customer_id,
        pending=sorted(pending.values(), key=order_key),
        profile=_profile(mine.profile, other.profile, event.at),
        failed=_failed(mine.failed, other.failed),
        order_mark=max(mine.order_mark, other.order_mark),
        ordered=_latest(mine.ordered, other.ordered),
        entries=_entries(mine, other),
        sent=sorted({*mine.sent, *other.sent}, key=_order_of)[-2 * HISTORY_LIMIT :],
        entered=sorted({*mine.entered, *other.entered}, key=lambda known: (known.at, known.journey, known.episode))[-2 * HISTORY_LIMIT :],
        applied_at=max(mine.applied_at, other.applied_at),
    )
    joined.wrong_sends = [*mine.wrong_sends, *other.wrong_sends]
    _tell_wrong_sends(joined, mine, other, event, found)
    mark = joined.order_mark
    stop(joined, event.at, "purchase", found, lambda entry: mark > entry.last_activity, {"order_at": iso(mark)})
    _one_a_journey(joined, event.at, rules, found)
    return joined


def _order_of(sent: Sent) -> tuple[EventTime, str, str, str, str]:
    return sent.at, sent.channel, sent.journey, sent.step, sent.command_id or ""


def _tell_wrong_sends(joined: JourneyState, mine: JourneyState, other: JourneyState, event: Handover, found: Findings) -> None:
    """What one was sent about, the other had bought; what either knew of itself was told before."""
    ours, theirs = wrong_send.purchases(mine), wrong_send.purchases(other)
    wrong_send.tell(joined, set(mine.sent), theirs - ours, event.at, "late_link", found)
    wrong_send.tell(joined, set(other.sent) - set(mine.sent), ours - theirs, event.at, "late_link", found)
    joined.wrong_sends = sorted(set(joined.wrong_sends))[-HISTORY_LIMIT:]


def _latest(mine: dict[str, EventTime], other: dict[str, EventTime]) -> dict[str, EventTime]:
    return {key: max(mine.get(key, 0), other.get(key, 0)) for key in sorted({*mine, *other})}


def _failed(mine: dict[str, Failed], other: dict[str, Failed]) -> dict[str, Failed]:
    """An opt-out of either stays; otherwise the later failure counts."""
    both = dict(mine)
    for channel, failed in other.items():
        both[channel] = max(both.get(channel, failed), failed, key=lambda known: (known.reason != "recipient_dead", known.at, known.reason))
    return {channel: both[channel] for channel in sorted(both)}


def _profile(mine: Profile | None, other: Profile | None, merged_at: EventTime) -> Profile | None:
    """Identity's word on the merged customer counts if it came already; until then a refusal on either side does."""
    if mine is None or other is None or mine.at >= merged_at:
        return mine or other
    consent = {
        channel: mine.consent.get(channel, True) and other.consent.get(channel, True) for channel in sorted({*mine.consent, *other.consent})
    }
    channels = [*mine.channels, *(channel for channel in other.channels if channel not in mine.channels)]
    return Profile(mine.at, consent, channels, mine.timezone or other.timezone, mine.locale or other.locale)


def _entries(mine: JourneyState, other: JourneyState) -> list[Entry]:
    """An entry of both keeps the steps done by either. One that a side has finished is not begun again."""
    entries = {(entry.journey, entry.episode): entry for entry in mine.entries}
    finished = _over(mine) | _over(other)
    for entry in other.entries:
        key = (entry.journey, entry.episode)
        entries[key] = _both(entries[key], entry) if key in entries else entry
    return [entries[key] for key in sorted(entries) if key not in finished]


def _over(state: JourneyState) -> set[tuple[str, str]]:
    begun = {(known.journey, known.episode) for known in state.entered}
    return begun - {(entry.journey, entry.episode) for entry in state.entries}


def _both(mine: Entry, other: Entry) -> Entry:
    """The same whichever is mine: told first by the earlier, known best by the later."""
    first, second = sorted((mine, other), key=lambda entry: (entry.at, entry.signal_id))
    later = max(mine, other, key=lambda entry: (entry.last_activity, entry.ready_at, entry.signal_id))
    done = [*first.done, *(step for step in second.done if step not in first.done)]
    held_at, deferred = max(mine.held_at, other.held_at), max(mine.deferred_until, other.deferred_until)
    return Entry(
        first.journey,
        first.episode,
        first.signal_id,
        first.at,
        later.last_activity,
        later.ready_at,
        later.cart,
        later.viewed,
        done,
        held_at,
        deferred,
        later.product,
    )


def _one_a_journey(state: JourneyState, at: EventTime, rules: Journeys, found: Findings) -> None:
    """As on entering: the newer episode counts, and what is outranked ends."""
    for entry in sorted(state.entries, key=lambda entry: (-entry.last_activity, -entry.at, entry.episode)):
        if entry not in state.entries:
            continue
        journey = rules.find(entry.journey)
        outranked = journey.outranks if journey is not None else []
        by = {"by": entry.journey, "by_episode": entry.episode}
        stop(state, at, "outranked", found, lambda known, below=outranked: known.journey in below, by)  # type: ignore[misc]
        stop(state, at, "newer_episode", found, lambda known, kept=entry: known.journey == kept.journey and known is not kept, by)  # type: ignore[misc]

"""What nobody could know when a message was decided on: that the shopper had bought before. Told once a message, and counted.

A purchase that comes after the message counts when it lies between what the message speaks of and the message. It may come late by
itself, or with a customer who turns out to be this one. The sender may still have stopped the message: `deliveries` says so under the
same command id.
"""

from __future__ import annotations

from collections.abc import Iterable

from cartstream.events.times import EventTime, iso
from cartstream.journeys.state import HISTORY_LIMIT, Findings, JourneyState, Sent, decision

OUTCOME = "wrong_send_detected"


def purchases(state: JourneyState) -> set[EventTime]:
    """When the customer bought, as far as is remembered."""
    return {at for at in (state.order_mark, *state.ordered.values()) if at}


def tell(state: JourneyState, sent: Iterable[Sent], bought: Iterable[EventTime], at: EventTime, rule: str, found: Findings) -> None:
    """Of messages and purchases that were not known together so far. `rule` is late_purchase or late_link; what told so was at `at`."""
    times = sorted(bought)
    for message in sorted(sent, key=lambda message: (message.at, message.journey, message.step)):
        before = next((time for time in times if message.about and message.about <= time < message.at), None)
        command_id = message.command_id
        if before is None or command_id is None or command_id in state.wrong_sends:
            continue
        state.wrong_sends = [*state.wrong_sends, command_id][-HISTORY_LIMIT:]
        found.decide(
            decision(
                state,
                max(at, message.at),
                message.journey,
                OUTCOME,
                rule,
                episode=message.episode,
                signal_id=message.signal_id,
                step=message.step,
                channel=message.channel,
                command_id=command_id,
                inputs={"order_at": iso(before), "sent_at": iso(message.at)},
            )
        )

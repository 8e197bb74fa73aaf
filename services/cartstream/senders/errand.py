"""A command under way: what was found about it, and what its end is."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cartstream.errors import Refused
from cartstream.events.records import ChannelFailed, Command, Delivery, make_id
from cartstream.senders.contacts import Standing
from cartstream.senders.ledger import Entry, Found
from cartstream.senders.outcomes import Outcome

DEAD = (Outcome.RECIPIENT_DEAD, Outcome.OPTED_OUT)


@dataclass(slots=True, eq=False)
class Errand:
    """A command under way. While `critical`, a call may be out: do not cancel. `paid` units were taken from the limiter.

    With `has_line` it holds one of the calls that may be under way. `looked_at` (real ms): what is known of it is of then.
    """

    command: Command
    critical: bool = False
    paid: bool = False
    has_line: bool = False
    looked_at: int = 0


class Done(msgspec.Struct, frozen=True):
    """What goes out when a command is finished. `fault` is what the dead-letter topic is told, if it goes there."""

    delivery: Delivery
    channel_failed: ChannelFailed | None = None
    fault: Refused | None = None


class Wait(msgspec.Struct, frozen=True):
    """Try again after so many real seconds; 0 is at once, without giving up the place."""

    seconds: float


class Case(msgspec.Struct, frozen=True):
    """A command with what was found about it at one moment."""

    command: Command
    standing: Standing
    found: Found


def done_of(case: Case, entry: Entry) -> Done:
    """Depends on the ledger entry alone, so that a repeat after a crash gives the same records."""
    command, reason = case.command, entry.reason
    delivery = Delivery(
        id=make_id("delivery", command.command_id),
        command_id=command.command_id,
        customer_id=command.customer_id,
        channel=command.channel,
        journey=command.journey,
        step=command.step,
        at=entry.at,
        status=entry.status,
        reason=reason,
        provider_id=entry.provider_id,
        attempts=entry.attempts,
    )
    if entry.status != "failed" or reason is None:
        return Done(delivery)
    if reason in DEAD:
        return Done(delivery, ChannelFailed(case.standing.customer_id, command.channel, str(reason), entry.at))
    return Done(delivery, fault=Refused(reason, f"the message of template {command.template!r} cannot be sent"))

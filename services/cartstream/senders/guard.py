"""The last look before a message goes out: may it, and where to? Pure."""

from __future__ import annotations

from dataclasses import dataclass

from cartstream.events.read_model import ERASED
from cartstream.events.records import Command
from cartstream.events.times import EventTime
from cartstream.senders.contacts import Standing


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a message does not go out: `status` and `reason` of its delivery."""

    status: str
    reason: str | None


def judge(command: Command, standing: Standing, now: EventTime) -> bytes | Stop:
    """The sealed address, or why not.

    The order is fixed so that the same standing always gives the same reason: expiry, contact, consent, purchase, cart.
    """
    if now >= command.expires_at:
        return Stop("expired", None)
    contact = standing.contact
    if standing.unreadable is not None:
        return Stop("failed", f"unreadable_{standing.unreadable}")
    if standing.lost:
        return Stop("unreachable", "merge_chain")
    if ERASED in (contact and contact.merged_into, standing.guard and standing.guard.merged_into):
        return Stop("suppressed", "erased")
    if contact is None:
        return Stop("unreachable", "no_contact")
    if contact.consent.get(command.channel) is not True:
        return Stop("suppressed", "no_consent")
    against = _contradiction(command, standing)
    if against is not None:
        return Stop("suppressed", against)
    address = {"email": contact.email, "sms": contact.phone, "push": contact.push}[command.channel]
    return address if address is not None else Stop("unreachable", "no_address")


def _contradiction(command: Command, standing: Standing) -> str | None:
    """A customer without a guard entry has never ordered, as far as anyone knows, and nothing is known of the cart."""
    if command.guard == "none":
        return None
    if standing.order_mark > command.order_mark:
        return "purchased"
    if command.guard == "cart" and standing.guard is not None:
        if standing.guard.cart_empty:
            return "cart_empty"
        if command.cart is not None and standing.guard.cart_version != command.cart.version:
            return "cart_changed"
    return None

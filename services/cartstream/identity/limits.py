"""What stands in the way of a link: a limit of the rules that the customer would pass."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cartstream.events.records import Identifier
from cartstream.events.times import EventTime
from cartstream.identity.nodes import Node, Refusal, device_named, identifier_name
from cartstream.identity.rules import DEVICE, Moments, Rules

_NEW = ""
"""Whose a value is that nobody has yet."""


class Obstacle(msgspec.Struct, frozen=True):
    """Why, and the type of which there would be too many."""

    reason: str
    limited: str


def obstacle(rules: Rules, owners: Sequence[Node], together: Sequence[Identifier], at: EventTime) -> Obstacle | None:
    """The first limit, of the strongest type, that a customer made of `owners` and `together` would pass. What one of
    them has too many of already is no obstacle, so that rules can be made stricter; a customer who has all is at no limit."""
    if len(owners) == 1 and all(_has(owners[0], identifier) for identifier in together):
        return None
    merges = sum(node.parts for node in owners) - 1
    if merges > rules.caps.merges and sum(node.parts > 0 for node in owners) > 1:
        return Obstacle("merges", together[-1].type)
    moments = _moments(owners, together, at)
    for rule in rules.types:
        if not rules.allows(rule.type, moments.get(rule.type, [])):
            return Obstacle("unique" if rule.unique else "limit", rule.type)
    devices = moments.get(DEVICE, [])
    if len(devices) > rules.caps.devices and len({owner for _, owner in devices}) > 1:
        return Obstacle("devices", DEVICE)
    return None


def refusal(identifier: Identifier, found: Obstacle, owners: Sequence[Node], holder: Node | None, at: EventTime) -> Refusal:
    """`owners` are the event's own, `holder` has the identifier, if anybody."""
    late = any(tie.at > at for node in owners for tie in node.ties)
    return Refusal(identifier, found.reason, found.limited, None if holder is None else holder.customer_id, late)


def _has(node: Node, identifier: Identifier) -> bool:
    return identifier.value in node.devices if identifier.type == DEVICE else identifier in node.identifiers


def _moments(owners: Sequence[Node], together: Sequence[Identifier], at: EventTime) -> dict[str, Moments]:
    found: dict[str, Moments] = {}
    known: set[Identifier] = set()
    for node in owners:
        since = node.since()
        for identifier in (*node.identifiers, *map(device_named, node.devices)):
            known.add(identifier)
            found.setdefault(identifier.type, []).append((since[identifier_name(identifier)], node.customer_id))
    for identifier in together:
        if identifier not in known:
            found.setdefault(identifier.type, []).append((at, _NEW))
    return found

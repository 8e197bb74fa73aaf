"""What stands in the way of a link: a limit of the rules that the customer would pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from cartstream.events.records import Identifier
from cartstream.events.times import EventTime
from cartstream.identity.nodes import Node, Refusal
from cartstream.identity.rules import DEVICE, Moments, Rules
from cartstream.identity.unlinking import are_apart

_NEW = ""
"""Whose a value is that nobody has yet."""


class Obstacle(msgspec.Struct, frozen=True):
    """Why, and the type of which there would be too many."""

    reason: str
    limited: str


def obstacle(rules: Rules, owners: Sequence[Node], together: Sequence[Identifier], at: EventTime) -> Obstacle | None:
    """The first limit, of the strongest type, that a customer made of `owners` and `together` would pass. What one of
    them has too many of already is no obstacle, so that rules can be made stricter; a customer who has all is at no limit."""
    fresh = [identifier for identifier in together if not any(_has(node, identifier) for node in owners)]
    if len(owners) == 1 and not fresh:
        return None
    if len(owners) > 1 and are_apart(owners, at):
        return Obstacle("unlinked", together[-1].type)
    merges = sum(node.parts for node in owners) - 1
    if merges > rules.caps.merges and sum(node.parts > 0 for node in owners) > 1:
        return Obstacle("merges", together[-1].type)
    counts = _counts(owners, fresh)
    for rule in rules.types:
        if counts[rule.type] > rule.limit and not rules.allows(rule.type, _moments(owners, fresh, rule.type, at)):
            return Obstacle("unique" if rule.unique else "limit", rule.type)
    if counts[DEVICE] > rules.caps.devices and counts[DEVICE] > max((len(node.devices) for node in owners), default=0):
        return Obstacle("devices", DEVICE)
    return None


def refusal(identifier: Identifier, found: Obstacle, owners: Sequence[Node], holder: Node | None, at: EventTime) -> Refusal:
    """`owners` are the event's own, `holder` has the identifier, if anybody."""
    late = any(tie.at > at for node in owners for tie in node.ties)
    return Refusal(identifier, found.reason, found.limited, None if holder is None else holder.customer_id, late)


def _has(node: Node, identifier: Identifier) -> bool:
    return identifier.value in node.devices if identifier.type == DEVICE else identifier in node.identifiers


def _counts(owners: Sequence[Node], fresh: Sequence[Identifier]) -> defaultdict[str, int]:
    """How many of each type they have together."""
    counts = defaultdict[str, int](int)
    for node in owners:
        counts[DEVICE] += len(node.devices)
        for identifier in node.identifiers:
            counts[identifier.type] += 1
    for identifier in fresh:
        counts[identifier.type] += 1
    return counts


def _moments(owners: Sequence[Node], fresh: Sequence[Identifier], kind: str, at: EventTime) -> Moments:
    found = [(moment, node.customer_id) for node in owners for moment in node.since(kind).values()]
    return found + [(at, _NEW) for identifier in fresh if identifier.type == kind]

"""What a correction would do, looked up before it is asked for. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from cartstream.errors import CartstreamError
from cartstream.events.records import Identifier
from cartstream.events.times import EventTime, iso
from cartstream.identity.correction import Erase, Unlink, erasure, unlinking
from cartstream.identity.directory import Directory
from cartstream.identity.erasure import first_customer
from cartstream.identity.explain import Link, chain
from cartstream.identity.nodes import DEVICE, Node, Tie, device_named, identifier_name


class NobodyKnown(CartstreamError):
    """No customer has the identifier, so there is nothing to correct."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is known of nobody; see how identifiers are written in docs/identity.md, and by which hash key")


class NotLinked(CartstreamError):
    """Two identifiers that no single link holds together, so there is none to take out."""


_SHOWN = 8


class Erasure(msgspec.Struct, frozen=True):
    """`command` None: nothing is left to do. `held` counts the customer's identifiers by type, devices among them."""

    name: str
    customer_id: str
    at: EventTime
    held: dict[str, int]
    merged: int = 0
    command: Erase | None = None

    def lines(self) -> list[str]:
        """For people."""
        if self.command is None:
            return [f"{self.name} was erased at {iso(self.at)} ({self.customer_id}): nothing is left to do"]
        held = ", ".join(f"{count} {kind}" for kind, count in self.held.items())
        merged = f", merged from {self.merged + 1} customers" if self.merged else ""
        return [
            f"{self.name} is {self.customer_id} ({held}{merged})",
            f"forgotten: all that they told up to {iso(self.at)}; what any of them tells later is a new customer's",
        ]

    def record(self) -> dict[str, object]:
        """For programs."""
        return {
            "kind": "erase",
            "identifier": self.name,
            "customer": self.customer_id,
            "at": iso(self.at),
            "held": self.held,
            "merged": self.merged,
            "done": self.command is None,
            "command": None if self.command is None else self.command.message_id,
        }


def preview(directory: Directory, identifier: Identifier, at: EventTime, message_id: str) -> Erasure:
    """Raises NobodyKnown, Unavailable. A device that no login is known of can be erased all the same."""
    name = identifier_name(identifier)
    node = directory.holders([identifier]).get(name)
    if node is not None:
        command = erasure(message_id, at, identifier, node.devices)
        return Erasure(name, node.customer_id, at, _held(node), len(node.absorbed), command)
    tomb = directory.tombs([identifier]).get(name)
    if tomb is not None and identifier.type != DEVICE:
        return Erasure(name, tomb.customer_id, tomb.at, {})
    if identifier.type != DEVICE:
        raise NobodyKnown(name)
    customer_id = first_customer(identifier, tomb.at if tomb is not None else 0)
    return Erasure(name, customer_id, at, {DEVICE: 1}, command=erasure(message_id, at, identifier, [identifier.value]))


def _held(node: Node) -> dict[str, int]:
    counts = Counter(identifier.type for identifier in node.identifiers)
    return {**dict(sorted(counts.items())), **({DEVICE: len(node.devices)} if node.devices else {})}


class Unlinking(msgspec.Struct, frozen=True):
    """`customer_id` stays with what is kept."""

    customer_id: str
    command: Unlink

    def lines(self) -> list[str]:
        """For people."""
        moved, kept = self.command.moved, self.command.kept
        return [
            f"{self.customer_id} keeps {_shown(kept)}",
            f"somebody new gets {_shown(moved)}",
            f"from {iso(self.command.at)} on: neither begins with a cart or a journey; only what is later can link the two again",
        ]

    def record(self) -> dict[str, object]:
        """For programs."""
        command = self.command
        return {
            "kind": "unlink",
            "customer": self.customer_id,
            "at": iso(command.at),
            "kept": command.kept,
            "moved": command.moved,
            "command": command.message_id,
        }


def preview_unlink(directory: Directory, leaves: Identifier, stays: Identifier, at: EventTime, message_id: str) -> Unlinking:
    """Raises NobodyKnown, NotLinked, Unavailable."""
    first, second = identifier_name(leaves), identifier_name(stays)
    holders = directory.holders([leaves, stays])
    for name in (first, second):
        if name not in holders:
            raise NobodyKnown(name)
    node = holders[second]
    if holders[first].customer_id != node.customer_id or first == second:
        raise NotLinked(f"{first} is {holders[first].customer_id}, {second} is {node.customer_id}: no link to take out")
    moved = _side(node.ties, first, second)
    everything = [identifier_name(identifier) for identifier in (*node.identifiers, *map(device_named, node.devices))]
    kept = [name for name in everything if name not in moved and name != second]
    others = sorted(moved - {first})
    return Unlinking(node.customer_id, unlinking(message_id, at, [first, *others], [second, *sorted(kept)]))


def _side(ties: Sequence[Tie], first: str, second: str) -> set[str]:
    """All that hangs together with the first without the link between the two. Raises NotLinked."""
    rest = [tie for tie in ties if tie.to and {tie.name, tie.to} != {first, second}]
    other = chain(rest, first, second)
    if other is not None:
        direct = len(rest) < sum(bool(tie.to) for tie in ties)
        said = "are linked by others, too" if direct else "are linked by way of others"
        raise NotLinked(f"{first} and {second} {said}; take out whichever is wrong: {_pairs(other)}")
    if chain(ties, first, second) is None:
        raise NotLinked(f"how {first} and {second} came to be one was not kept, since it is older than links are kept")
    return _together(rest, first)


def _together(ties: Iterable[Tie], start: str) -> set[str]:
    next_to: dict[str, set[str]] = {}
    for tie in ties:
        next_to.setdefault(tie.name, set()).add(tie.to)
        next_to.setdefault(tie.to, set()).add(tie.name)
    found, waiting = {start}, [start]
    while waiting:
        new = next_to.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def _pairs(links: Iterable[Link]) -> str:
    return ", ".join(f"`unlink {one} {other}` ({iso(link.at)})" for link in links for one, other in pairwise(link.together))


def _shown(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

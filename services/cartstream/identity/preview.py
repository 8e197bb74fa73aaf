"""What an erasure would do, looked up before it is asked for. Reads only."""

from __future__ import annotations

from collections import Counter

import msgspec

from cartstream.errors import CartstreamError
from cartstream.events.records import Identifier
from cartstream.events.times import EventTime, iso
from cartstream.identity.correction import Erase, erasure
from cartstream.identity.directory import Directory
from cartstream.identity.erasure import first_customer
from cartstream.identity.nodes import DEVICE, Node, identifier_name


class NobodyKnown(CartstreamError):
    """No customer has the identifier, so there is nothing to correct."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is known of nobody; see how identifiers are written in docs/identity.md, and by which hash key")


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

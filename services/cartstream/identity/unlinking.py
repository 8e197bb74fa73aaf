"""A wrong link taken out of the graph, pure: one customer becomes two, and what is older does not join them again.

The command names both sides, so it says the same in any order of events: each node that has identifiers of one side bears a mark, and
nodes with marks of both sides are joined by later events alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from cartstream.events.records import Identifier, make_id
from cartstream.events.times import EventTime
from cartstream.identity.correction import Corrected, Unlink
from cartstream.identity.erasure import first_customer
from cartstream.identity.nodes import APART, DEVICE, Node, Tie, View, identifier_name, identifier_named

_OTHER = {"moved": "kept", "kept": "moved"}


def unlink(view: View, command: Unlink) -> Corrected:
    """The moved side gets a customer of its own; the other keeps the id."""
    moved, kept = _present(view, command.moved, command.at), _present(view, command.kept, command.at)
    again = any(tie.event_id == command.message_id for node in _nodes(view, [*moved, *kept]) for tie in node.ties if tie.is_mark)
    split = [] if again else _split_all(view, moved, kept, command)
    if not again:
        for side, identifiers in (("moved", moved), ("kept", kept)):
            for node in _nodes(view, identifiers):
                node.ties.insert(0, Tie(f"{APART}{command.message_id}#{side}", "", command.message_id, command.at))
                view.dirty_nodes.add(node.customer_id)
    return _corrected(view, command, moved, kept, [node.customer_id for node in split], again)


def are_apart(nodes: Sequence[Node], at: EventTime) -> bool:
    """Whether they were told to be different customers, and an event of that time cannot say otherwise."""
    marks = [{tie.name for tie in node.ties if tie.is_mark and tie.at >= at} for node in nodes]
    return any(_other(name) in theirs for i, mine in enumerate(marks) for name in mine for theirs in marks[i + 1 :])


def joined_again(ties: list[Tie]) -> list[Tie]:
    """Of customers whom an event has joined: marks of both sides keep nobody apart any more. What stays says that it was done."""
    names = {tie.name for tie in ties if tie.is_mark}
    over = {name for name in names if _other(name) in names}
    return [msgspec.structs.replace(tie, name=_done(tie.name)) if tie.name in over else tie for tie in ties] if over else ties


def _other(name: str) -> str:
    command, _, side = name.rpartition("#")
    return f"{command}#{_OTHER.get(side)}"


def _done(name: str) -> str:
    return name.rpartition("#")[0] + "#done"


def _present(view: View, names: Iterable[str], at: EventTime) -> list[Identifier]:
    """Those that were not erased since. Who is not known yet comes to be, for the mark."""
    found = []
    for identifier in map(identifier_named, names):
        tomb = view.tombs.get(identifier_name(identifier))
        if tomb is not None and tomb.at >= at:
            continue
        found.append(identifier)
        if view.owner(identifier) is None:
            customer_id = first_customer(identifier, tomb.at if tomb is not None else 0)
            node = view.root(customer_id) or view.new(customer_id, at)
            _give(view, view.new(first_customer(identifier, at), at) if node.erased else node, [identifier])
    return found


def _give(view: View, node: Node, identifiers: Iterable[Identifier]) -> None:
    told = list(identifiers)
    node.devices = sorted({*node.devices, *(identifier.value for identifier in told if identifier.type == DEVICE)})
    node.identifiers = sorted({*node.identifiers, *(identifier for identifier in told if identifier.type != DEVICE)})
    for name in map(identifier_name, told):
        view.owners[name] = node.customer_id
        view.dirty_owners.add(name)
    view.dirty_nodes.add(node.customer_id)


def _nodes(view: View, identifiers: Iterable[Identifier]) -> list[Node]:
    found = {node.customer_id: node for identifier in identifiers if (node := view.owner(identifier)) is not None}
    return [found[customer_id] for customer_id in sorted(found)]


def _split_all(view: View, moved: list[Identifier], kept: list[Identifier], command: Unlink) -> list[Node]:
    staying = {node.customer_id for node in _nodes(view, kept)}
    return [_split(view, node, moved, command) for node in _nodes(view, moved) if node.customer_id in staying]


def _split(view: View, node: Node, moved: list[Identifier], command: Unlink) -> Node:
    leaving = [identifier for identifier in moved if view.owner(identifier) is node]
    names = set(map(identifier_name, leaving))
    other = view.new("c_" + make_id("unlinked", command.message_id, node.customer_id)[:24], command.at)
    _give(view, other, leaving)
    node.identifiers = [identifier for identifier in node.identifiers if identifier_name(identifier) not in names]
    node.devices = [device for device in node.devices if f"{DEVICE}:{device}" not in names]
    _part_ties(node, other, names)
    other.first_seen = min((tie.at for tie in other.ties if not tie.is_mark), default=command.at)
    other.known = min(len(other.identifiers), 1)
    node.known = max(node.known - other.known, min(len(node.identifiers), 1))
    _part_contacts(node, other)
    for each in (node, other):
        each.changed_at, each.changed_by, each.earlier = max(each.changed_at, command.at), command.message_id, []
        view.dirty_nodes.add(each.customer_id)
    return node


def _part_ties(node: Node, other: Node, names: set[str]) -> None:
    """A tie across says no more than since when each had its own."""
    ties, node.ties = node.ties, []
    for tie in ties:
        ends = [other if name in names else node for name in (tie.name, tie.to) if name]
        if tie.is_mark:
            node.ties.append(tie)
            other.ties.append(tie)
        elif ends[0] is ends[-1]:
            ends[0].ties.append(tie)
        else:
            ends[0].ties.append(Tie(tie.name, "", tie.event_id, tie.at))
            ends[1].ties.append(Tie(tie.to, "", tie.event_id, tie.at))


def _part_contacts(node: Node, other: Node) -> None:
    """An address goes with the only side that has told any of its kind; where both have, it is nobody's until it is told again. No
    consent goes along, but each revocation."""
    for kind in list(node.contacts):
        stays, leaves = (any(identifier.type == kind for identifier in each.identifiers) for each in (node, other))
        if leaves:
            sealed = node.contacts.pop(kind)
            if not stays:
                other.contacts[kind] = sealed
    other.consent = {channel: (said, at) for channel, (said, at) in node.consent.items() if not said}


def _corrected(view: View, command: Unlink, moved: list[Identifier], kept: list[Identifier], split: list[str], again: bool) -> Corrected:
    places = {identifier_name(identifier): node.customer_id for identifier in (*moved, *kept) if (node := view.owner(identifier))}
    if again:
        split = [node.customer_id for node in _nodes(view, kept) if node.changed_by == command.message_id]
    records = [record for node in _nodes(view, [*moved, *kept]) if (record := node.record(command.message_id)) is not None]
    first = next(iter(_nodes(view, kept) or _nodes(view, moved)), None)
    return Corrected(
        first.customer_id if first is not None else "",
        command.at,
        split,
        sum(identifier.type != DEVICE for identifier in moved),
        sum(identifier.type == DEVICE for identifier in moved),
        again,
        places,
        records,
        places.get(command.moved[0]),
    )

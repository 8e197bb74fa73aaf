"""What other rules would change: recorded events under today's rules and under the new ones, cluster against cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from cartstream.events.adapters.recorded import Recorded
from cartstream.identity.nodes import device_named, identifier_name
from cartstream.identity.rehearsal import Rehearsal, rehearse
from cartstream.identity.rules import Rules
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.state import shared_customer

KINDS = {
    "split": "one customer becomes several",
    "joined": "several customers become one",
    "rearranged": "several customers become several others",
    "changed": "one customer has other identifiers",
    "renamed": "the same identifiers under another customer id",
    "appeared": "identifiers that are nobody's today",
    "vanished": "identifiers that become nobody's",
}
_SIZES = ((1, "1"), (2, "2"), (5, "3 to 5"), (10, "6 to 10"), (100, "11 to 100"), (1_000, "101 to 1,000"))
_LARGER = "more"
SIZES = (*(label for _, label in _SIZES), _LARGER)


class Cluster(msgspec.Struct, frozen=True, order=True):
    """A customer, and the names of the identifiers and devices that are his."""

    customer_id: str
    names: tuple[str, ...]


class Change(msgspec.Struct, frozen=True):
    """Clusters of today, and what the same identifiers are by the new rules. `kind` is of KINDS."""

    kind: str
    today: list[Cluster]
    new: list[Cluster]

    def record(self) -> dict[str, object]:
        return {"kind": self.kind, "today": msgspec.to_builtins(self.today), "new": msgspec.to_builtins(self.new)}


class Side(msgspec.Struct, frozen=True):
    """What some rules make of the events. `sizes` counts the customers who are known by some identifier, by SIZES; `refused` the
    links that were refused, by reason; `dead_letters` the events that cannot be used."""

    customers: int
    largest: int
    sizes: dict[str, int]
    refused: dict[str, int]
    dead_letters: int


class Comparison(msgspec.Struct, frozen=True):
    events: int
    today: Side
    new: Side
    changes: list[Change]

    def counts(self) -> dict[str, int]:
        """Of the changes, by kind."""
        found = Counter(change.kind for change in self.changes)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def records(self) -> list[dict[str, object]]:
        """For programs: the changes, then the summary."""
        sides = {"today": msgspec.structs.asdict(self.today), "new": msgspec.structs.asdict(self.new)}
        return [
            *(change.record() for change in self.changes),
            {"kind": "summary", "events": self.events, "changes": self.counts(), **sides},
        ]


def compare(events: Iterable[Recorded], settings: IdentitySettings, today: Rules, new: Rules) -> Comparison:
    """Both read the same events, once."""
    one, other = Rehearsal(settings, today), Rehearsal(settings, new)
    count = rehearse(events, one, other)
    return Comparison(count, _side(one), _side(other), changes(_everybody(one), _everybody(other)))


def changes(today: Iterable[Cluster], new: Iterable[Cluster]) -> list[Change]:
    """Clusters that share identifiers, directly or through others, are told of together. In order of the first customer's id."""
    before, after = set(today), set(new)
    sides = _by_name(before - after), _by_name(after - before)
    waiting = sorted(sides[0].keys() | sides[1].keys())
    done: set[str] = set()
    found = []
    for name in waiting:
        if name not in done:
            found.append(_change(name, sides, done))
    return sorted(found, key=lambda change: min(change.today + change.new))


def _by_name(clusters: Iterable[Cluster]) -> dict[str, Cluster]:
    return {name: cluster for cluster in clusters for name in cluster.names}


def _change(start: str, sides: tuple[dict[str, Cluster], dict[str, Cluster]], done: set[str]) -> Change:
    """Everything that hangs together with one name; those names are `done`."""
    found: tuple[set[Cluster], set[Cluster]] = set(), set()
    waiting = [start]
    done.add(start)
    while waiting:
        name = waiting.pop()
        for side, clusters in zip(sides, found, strict=True):
            cluster = side.get(name)
            if cluster is not None and cluster not in clusters:
                clusters.add(cluster)
                waiting += [other for other in cluster.names if other not in done]
                done.update(cluster.names)
    today, new = sorted(found[0]), sorted(found[1])
    return Change(_kind(today, new), today, new)


def _kind(today: Sequence[Cluster], new: Sequence[Cluster]) -> str:
    if not today or not new:
        return "vanished" if today else "appeared"
    if len(today) == len(new) == 1:
        return "renamed" if today[0].names == new[0].names else "changed"
    if len(today) == 1:
        return "split"
    return "joined" if len(new) == 1 else "rearranged"


def _known(rehearsal: Rehearsal) -> list[Cluster]:
    return [
        Cluster(node.customer_id, tuple(sorted(map(identifier_name, (*node.identifiers, *map(device_named, node.devices))))))
        for node in rehearsal.directory.nodes.values()
        if node.merged_into is None and node.size
    ]


def _everybody(rehearsal: Rehearsal) -> list[Cluster]:
    """Also the devices that nobody is known on: each is a customer of its own."""
    known = _known(rehearsal)
    owned = {name for cluster in known for name in cluster.names}
    for state in rehearsal.devices():
        name = identifier_name(device_named(state.device_id))
        if name not in owned:
            known.append(Cluster(shared_customer(state.device_id) if state.shared else state.customer_id, (name,)))
    return known


def _side(rehearsal: Rehearsal) -> Side:
    lengths = [len(cluster.names) for cluster in _known(rehearsal)]
    sizes = Counter(next((label for most, label in _SIZES if length <= most), _LARGER) for length in lengths)
    refused = Counter(refusal.reason for refusal in rehearsal.refused)
    return Side(
        len(lengths),
        max(lengths, default=0),
        {label: sizes[label] for label in SIZES},
        dict(sorted(refused.items())),
        rehearsal.dead_letters,
    )

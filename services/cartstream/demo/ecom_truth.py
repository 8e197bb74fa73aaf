"""What retentioneering's e-commerce file itself says about abandonment, and how well signals agree with it.

A session leaves something in a cart if it adds to the cart after its last purchase, or adds and does not purchase. A signal
names the session in which its cart was last changed: that of the same user in which the cart's version lies.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cartstream.events.adapters.recorded import open_text
from cartstream.events.times import SECOND, EventTime, parse_iso

ABANDONMENTS = ("cart_abandoned", "checkout_abandoned")
SLACK_MS = 1 * SECOND
"""A cart's version is the time of its last change, moved on by some ms where several changes share a time."""


class Visit(NamedTuple):
    """A session of the file. `left` says whether it leaves something in a cart."""

    session_id: str
    user: str
    platform: str
    started_at: EventTime
    ended_at: EventTime
    left: bool


class Named(NamedTuple):
    """What a signal says: whose cart, as of when."""

    customer_id: str
    cart_version: EventTime


@dataclass(frozen=True, slots=True)
class Agreement:
    """`sessions` in the file; `left` leave something, `found` are named by signals. `homeless` signals lie in no session of their user."""

    sessions: int
    left: frozenset[str]
    found: frozenset[str]
    homeless: list[Named] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """Of what the signals name, how much is right; a homeless signal is wrong."""
        named = len(self.found) + len(self.homeless)
        return len(self.found & self.left) / named if named else 0.0

    @property
    def recall(self) -> float:
        return len(self.found & self.left) / len(self.left) if self.left else 0.0

    @property
    def missed(self) -> list[str]:
        return sorted(self.left - self.found)

    @property
    def extra(self) -> list[str]:
        return sorted(self.found - self.left)


def visits(path: Path) -> list[Visit]:
    """The file's sessions, in order of id."""
    rows: dict[str, list[tuple[EventTime, int, str, str, str]]] = {}
    with open_text(path) as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            at = parse_iso(row["timestamp"].replace(" ", "T"))
            rows.setdefault(row["session_id"], []).append((at, number, row["event"], row["user_id"], row["platform"]))
    return [_visit(session_id, sorted(events)) for session_id, events in sorted(rows.items())]


def _visit(session_id: str, events: list[tuple[EventTime, int, str, str, str]]) -> Visit:
    names = [name for _, _, name, _, _ in events]
    bought = len(names) - 1 - names[::-1].index("purchase") if "purchase" in names else -1
    (first, _, _, user, platform), (last, *_) = events[0], events[-1]
    return Visit(session_id, user, platform, first, last, "add_to_cart" in names[bought + 1 :])


def agreement(path: Path, signals: Iterable[Named], devices: Mapping[str, str]) -> Agreement:
    """Hold abandonments (of carts and checkouts) against the file. `devices` has any one device of each customer."""
    known = visits(path)
    of_user: dict[str, list[Visit]] = {}
    for visit in known:
        of_user.setdefault(visit.user, []).append(visit)
    found: set[str] = set()
    homeless = []
    for signal in signals:
        user = devices.get(signal.customer_id, "").rpartition("-")[0]
        inside = [v for v in of_user.get(user, []) if v.started_at <= signal.cart_version <= v.ended_at + SLACK_MS]
        if inside:
            found.add(max(inside, key=lambda visit: (visit.left, visit.session_id)).session_id)
        else:
            homeless.append(signal)
    return Agreement(len(known), frozenset(visit.session_id for visit in known if visit.left), frozenset(found), homeless)


def replayed(path: Path, out: Path) -> Agreement:
    """The same for what `cartstream replay run` wrote into `out`."""
    devices: dict[str, str] = {}
    with (out / "activity.jsonl").open() as lines:
        for activity in map(json.loads, lines):
            if activity["device_id"] is not None:
                devices[activity["customer_id"]] = activity["device_id"]
    named = []
    with (out / "signals.jsonl").open() as lines:
        for signal in map(json.loads, lines):
            if signal["kind"] in ABANDONMENTS:
                named.append(Named(signal["customer_id"], parse_iso(signal["cart"]["version"])))
    return agreement(path, named, devices)

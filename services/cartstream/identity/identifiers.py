"""Identifiers: their types, ranks and limits, and the values that never link anybody.

Sources: Segment Unify (limits, demote and retry), PostHog and Segment for the blocked values; see `docs/identity.md`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cartstream.events.clicks import MAX_ID
from cartstream.events.records import Identifier


@dataclass(frozen=True, slots=True)
class IdentifierType:
    """`rank` 1 is the strongest; `limit` is how many values one customer may have, ever."""

    name: str
    rank: int
    limit: int


TYPES = {
    kind.name: kind
    for kind in (
        IdentifierType("user_id", 1, 1),
        IdentifierType("loyalty_id", 2, 1),
        IdentifierType("email", 3, 5),
        IdentifierType("phone", 4, 5),
        IdentifierType("push", 5, 20),
        IdentifierType("device", 6, 1_000),
    )
}

_BLOCKED = frozenset(
    [
        "anonymous",
        "guest",
        "distinctid",
        "distinct_id",
        "id",
        "not_authenticated",
        "email",
        "undefined",
        "true",
        "false",
        "null",
        "none",
        "nan",
        "nil",
        "-1",
        "unknown",
        "n/a",
        "test",
    ]
) | {"[object object]"}
_ZEROS = re.compile(r"[0-]*")


def blocked(value: str) -> bool:
    """Values that broken trackers send for everybody: `null`, `undefined`, zeros, quoted or not, in any case."""
    bare = value.strip().strip("'\"").strip().lower()
    return not bare or bare in _BLOCKED or _ZEROS.fullmatch(bare) is not None


def usable(value: str) -> bool:
    """Nothing to look into: neither blocked nor too long, and that is seen at once. Most ids are such."""
    last = value[-1:]  # a letter or digit at both ends: no quotes, nothing to strip
    ends = value[:1] >= "0" and (last > "0" or (last == "0" and value.strip("0-") != ""))
    return ends and value.isascii() and len(value) <= MAX_ID and value.lower() not in _BLOCKED


def strongest_first(identifiers: list[Identifier]) -> list[Identifier]:
    return sorted(identifiers, key=lambda identifier: (TYPES[identifier.type].rank, identifier.value))

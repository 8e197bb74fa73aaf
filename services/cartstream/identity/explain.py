"""Why two identifiers are one customer's: the chain of events that links them, from what tied each of them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import get_args

import msgspec
import orjson

from cartstream.errors import ConfigError
from cartstream.events.records import Identifier
from cartstream.events.times import EventTime, iso
from cartstream.identity.contacts import Redactor, may_hold_address, normalise
from cartstream.identity.directory import Directory
from cartstream.identity.nodes import CHANNEL_OF, Tie, identifier_name
from cartstream.identity.rehearsal import Refused
from cartstream.identity.rules import TypeRule
from cartstream.runtime.vault import AddressHash

TYPES: tuple[str, ...] = get_args(msgspec.structs.fields(TypeRule)[0].type)
_HASH = re.compile(r"[0-9a-f]{32}")


class Link(msgspec.Struct, frozen=True):
    """One event of the chain, and the identifiers of the chain that it showed together."""

    event_id: str
    at: EventTime
    together: list[str]


class Explanation(msgspec.Struct, frozen=True):
    """`customers`: whose each of the two is, None if nobody's. `links` lead from the first to the second; None: there is no chain.
    `refused` are the links between the two customers that were refused, where that is known."""

    names: tuple[str, str]
    customers: tuple[str | None, str | None]
    links: list[Link] | None = None
    refused: list[Refused] = []

    def lines(self) -> list[str]:
        """For people."""
        first, second = self.names
        nobody = [name for name, customer in zip(self.names, self.customers, strict=True) if customer is None]
        if nobody:
            said = [f"{' and '.join(nobody)}: known of nobody"]
        elif self.customers[0] != self.customers[1]:
            said = [f"{first} is {self.customers[0]}, {second} is {self.customers[1]}: nothing links them"]
        elif self.links is None:
            said = [f"{first} and {second} are {self.customers[0]}, who was stored before links were kept: see --input"]
        else:
            said = [f"{first} and {second} are {self.customers[0]}"]
            said += [f"{iso(link.at)}  {link.event_id}  {' + '.join(link.together)}" for link in self.links]
        return said + [
            f"{iso(refused.at)}  {refused.event_id}  refused {refused.identifier} ({refused.reason}, {refused.limited})"
            for refused in self.refused
        ]

    def records(self) -> list[dict[str, object]]:
        """For programs: the answer, then its links and refusals."""
        answer = {"kind": "answer", "identifiers": self.names, "customers": self.customers, "linked": self.links is not None}
        links = [{"kind": "link", **msgspec.structs.asdict(link), "at": iso(link.at)} for link in self.links or ()]
        refused = [{"kind": "refused", **msgspec.structs.asdict(refused), "at": iso(refused.at)} for refused in self.refused]
        return [answer, *links, *refused]


def explain(directory: Directory, first: Identifier, second: Identifier, refused: Iterable[Refused] = ()) -> Explanation:
    """Reads only. Raises Unavailable."""
    names = identifier_name(first), identifier_name(second)
    holders = directory.holders([first, second])
    one, other = holders.get(names[0]), holders.get(names[1])
    customers = one.customer_id if one else None, other.customer_id if other else None
    if one is None or other is None or one.customer_id != other.customer_id:
        return Explanation(names, customers, refused=_between(directory, names, customers, refused))
    return Explanation(names, customers, chain(one.ties, *names))


def chain(ties: Iterable[Tie], start: str, goal: str) -> list[Link] | None:
    """The shortest way from one identifier to another, the earliest ties first; None if there is none."""
    next_to: dict[str, list[tuple[str, Tie]]] = {}
    for tie in sorted(ties, key=lambda tie: (tie.at, tie.event_id)):
        if tie.to:
            next_to.setdefault(tie.name, []).append((tie.to, tie))
            next_to.setdefault(tie.to, []).append((tie.name, tie))
    came: dict[str, tuple[str, Tie] | None] = {start: None}
    waiting = deque([start])
    while waiting and goal not in came:
        name = waiting.popleft()
        for other, tie in next_to.get(name, ()):
            if other not in came:
                came[other] = name, tie
                waiting.append(other)
    return _links(came, goal) if goal in came else None


def _links(came: dict[str, tuple[str, Tie] | None], goal: str) -> list[Link]:
    """The way back from `goal`, turned round; ties of one event are one link."""
    names, ties = [goal], []
    while (step := came[names[-1]]) is not None:
        names.append(step[0])
        ties.append(step[1])
    names.reverse()
    found: list[Link] = []
    for (one, other), tie in zip(pairwise(names), reversed(ties), strict=True):
        if found and found[-1].event_id == tie.event_id:
            found[-1].together.append(other)
        else:
            found.append(Link(tie.event_id, tie.at, [one, other]))
    return found


def _between(
    directory: Directory, names: tuple[str, str], customers: tuple[str | None, str | None], refused: Iterable[Refused]
) -> list[Refused]:
    """Those that would have made the two customers one, or given one of them the identifier that is asked about."""
    ends = set(customers)
    kept = []
    for refusal in refused:
        sides = [refusal.customer_id, *([refusal.holder] if refusal.holder else [])]
        survivors = directory.roots(sides)
        told = {survivors.get(side, side) for side in sides}
        if told == ends or (refusal.identifier in names and told & ends):
            kept.append(refusal)
    return kept


def parse_identifier(text: str, hash_address: Callable[[], AddressHash]) -> Identifier:
    """`type:value` as identity names it. An address may be given as its hash or in clear; its hash is what comes back.

    Raises ConfigError, which does not say the value: it may be an address.
    """
    kind, _, value = text.partition(":")
    if kind not in TYPES or not value:
        raise ConfigError(f"an identifier is type:value, as in user_id:u1; the types are {', '.join(TYPES)}")
    if kind not in CHANNEL_OF:
        return Identifier(kind, _redacted(value, hash_address()) if may_hold_address(value.encode()) else value)
    if _HASH.fullmatch(value):
        return Identifier(kind, value)
    address = normalise(kind, _push(value) if kind == "push" else value)
    if address is None:
        raise ConfigError(f"the value after {kind}: is neither an address nor the hash of one (32 characters)")
    return Identifier(kind, hash_address()(kind, address))


def _redacted(value: str, hash_address: AddressHash) -> str:
    """An id that holds an e-mail address goes through identity with its hash in it."""
    raw, _ = Redactor(hash_address, {}, lambda _: False).redact(orjson.dumps({"userId": value}))
    return str(orjson.loads(raw)["userId"])


def _push(value: str) -> object:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None

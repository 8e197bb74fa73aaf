"""What the identity graph is made of: customers as nodes, requests to link, and the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from cartstream.events.read_model import ERASED
from cartstream.events.records import Customer, Identifier, Merge, make_id
from cartstream.events.times import EventTime

DEVICE, USER = "device", "user_id"
DEVICES_SHOWN = 1_000
Conceal: TypeAlias = Callable[[Identifier], str]
CHANNEL_OF = {"email": "email", "phone": "sms", "push": "push"}


APART = "apart#"


class Expected(msgspec.Struct, frozen=True):
    """Of an answer: what it means to the next events. `left_out` as the function says, None: whatever it is; `erased_at` as in `Linked`.
    That somebody else turns out to be erased is never expected."""

    left_out: frozenset[str] | None
    erased_at: EventTime = 0


class LinkRequest(msgspec.Struct):
    """What one event says: these identifiers, seen together on this device, are one customer's."""

    event_id: str
    at: EventTime
    device_id: str
    device_customer: str
    device_first_seen: EventTime
    identifiers: list[Identifier]
    addresses: dict[str, str] = {}
    consent: dict[str, bool] = {}
    timezone: str | None = None
    locale: str | None = None
    expected: Expected | None = None
    """What must be answered if the requests after it are to be answered, too; None: whatever it is."""


class Refusal(msgspec.Struct, frozen=True):
    """An identifier that was set aside, since with it somebody would have too many of type `limited`.

    reason: unique, limit, devices, merges or unlinked. `holder` is the other customer whose it is. `late`: the customers that it
    would have joined are, in part, what later events made them, so in order of event time it might have been let in.
    """

    identifier: Identifier
    reason: str
    limited: str
    holder: str | None = None
    late: bool = False


class Linked(msgspec.Struct):
    """The answer: whose event it is, who was merged because of it, and the customer record if it changed."""

    customer_id: str
    owns_device: bool
    merges: list[Merge]
    customer: Customer | None
    refused: list[Refusal] = []
    size: int = 0
    """How many identifiers and devices the customer has now."""
    late: list[str] = []
    """Types of which this event, coming late, shows that too many were let in at one time, or that one may have been refused that there
    was room for."""
    erased_at: EventTime = 0
    """The event is a customer's who was erased then, and so are the losers of `merges`."""

    @property
    def apart(self) -> bool:
        """The event is older than an unlink of what it shows together."""
        return any(refusal.reason == "unlinked" for refusal in self.refused)


def left_out(identifiers: Sequence[Identifier], linked: Linked) -> frozenset[str]:
    """The names of those that the device does not come to know by this answer. A login that is set aside has its own customer."""
    if not (linked.refused or linked.erased_at):
        return frozenset()
    if linked.erased_at or linked.apart:
        return frozenset(map(identifier_name, identifiers))
    set_aside = {refusal.identifier for refusal in linked.refused}
    return frozenset(identifier_name(identifier) for identifier in identifiers if identifier in set_aside and identifier.type != USER)


def is_expected(request: LinkRequest, linked: Linked) -> bool:
    expected = request.expected
    if expected is None:
        return True
    if linked.erased_at and linked.merges:
        return False
    return expected.left_out is None or expected == Expected(left_out(request.identifiers, linked), linked.erased_at)


class Absorbed(msgspec.Struct, array_like=True):
    loser: str
    event_id: str
    at: EventTime
    identifier_type: str


class Tie(msgspec.Struct, array_like=True):
    """Why `name` is the customer's: an event told it together with `to`. Both as `identifier_name`. Without `to` it says no more than
    when the customer had it: it was the first of all, or told late of an earlier time."""

    name: str
    to: str
    event_id: str
    at: EventTime

    @property
    def is_mark(self) -> bool:
        """It ties nothing: the customer is one side of an unlink, see `unlinking.py`."""
        return self.name.startswith(APART)


class Tomb(msgspec.Struct, array_like=True, frozen=True):
    """What stays of an identifier that was erased: what it told up to `at` is `customer_id`'s, who is nobody any more."""

    at: EventTime
    customer_id: str


class Told(msgspec.Struct, array_like=True):
    """What the customer record said after an earlier event: all of it that anybody decides by."""

    event_id: str
    at: EventTime
    consent: dict[str, bool]
    channels: list[str]
    timezone: str | None
    locale: str | None


class Node(msgspec.Struct, array_like=True):
    """A customer in the graph. Sealed addresses are `contacts`; each value comes with the event time that set it. One that was
    erased was so at `changed_at`, by the command `changed_by`.

    `earlier` is what was told before the last change: a batch that changes a customer twice may have to be done again.
    `ties` has a path between any two of the customer's identifiers; `known` counts those who were known each by himself before they merged.
    """

    customer_id: str
    first_seen: EventTime
    identifiers: list[Identifier] = []
    devices: list[str] = []
    absorbed: list[Absorbed] = []
    consent: dict[str, tuple[bool, EventTime]] = {}
    contacts: dict[str, tuple[bytes, EventTime]] = {}
    timezone: str | None = None
    locale: str | None = None
    changed_at: EventTime = 0
    changed_by: str = ""
    merged_into: str | None = None
    earlier: list[Told] = []
    ties: list[Tie] = []
    known: int = 0

    @property
    def erased(self) -> bool:
        """Its identifiers are concealed, and all else that told of somebody is gone."""
        return self.merged_into == ERASED

    @property
    def size(self) -> int:
        return len(self.identifiers) + len(self.devices)

    @property
    def parts(self) -> int:
        """`known`, also of a customer who was stored before it was counted."""
        return max(self.known, 1 if self.identifiers else 0)

    def of_type(self, kind: str) -> list[str]:
        return self.devices if kind == DEVICE else [identifier.value for identifier in self.identifiers if identifier.type == kind]

    def since(self, kind: str) -> dict[str, EventTime]:
        """When each value of a type was first told to be the customer's, by its name; `first_seen` where no tie says so."""
        found = {identifier_name(Identifier(kind, value)): 0 for value in self.of_type(kind)}
        for tie in self.ties:
            for name in (tie.name, tie.to):
                if name in found:
                    found[name] = min(tie.at, found[name] or tie.at)
        return {name: at or self.first_seen for name, at in found.items()}

    def told(self) -> Told:
        consent = {channel: said for channel, (said, _) in sorted(self.consent.items())}
        channels = sorted({CHANNEL_OF[kind] for kind in self.contacts})
        return Told(self.changed_by, self.changed_at, consent, channels, self.timezone, self.locale)

    def record(self, event_id: str) -> Customer | None:
        """The customer record as this event changed it, None if it did not (or too many have since)."""
        told = self.told() if event_id == self.changed_by else next((told for told in self.earlier if told.event_id == event_id), None)
        if told is None:
            return None
        identifiers, devices = sorted(self.identifiers), sorted(self.devices)[:DEVICES_SHOWN]
        return Customer(
            self.customer_id, told.at, told.consent, told.timezone, told.locale, told.channels, identifiers, devices, self.merged_into
        )


class View:
    """The part of the graph that some links may touch. `nodes` by customer, `owners` and `tombs` by `identifier_name`; `dirty` is what
    changed. `conceal` gives the keyed hash that stays of an erased identifier. `buried` are those erased here, and when."""

    def __init__(self, nodes: dict[str, Node], owners: dict[str, str], tombs: dict[str, Tomb], conceal: Conceal) -> None:
        self.nodes, self.owners, self.tombs, self.conceal = nodes, owners, tombs, conceal
        self.dirty_nodes: set[str] = set()
        self.dirty_owners: set[str] = set()
        self.dirty_tombs: set[str] = set()
        self.merges: list[Merge] = []
        self.buried: list[tuple[str, EventTime]] = []

    def owner(self, identifier: Identifier) -> Node | None:
        customer_id = self.owners.get(identifier_name(identifier))
        return self.root(customer_id) if customer_id else None

    def root(self, customer_id: str) -> Node | None:
        node = self.nodes.get(customer_id)
        while node is not None and node.merged_into:
            node = self.nodes.get(node.merged_into)
        return node

    def new(self, customer_id: str, first_seen: EventTime) -> Node:
        node = self.nodes[customer_id] = Node(customer_id, first_seen)
        self.dirty_nodes.add(customer_id)
        return node

    def survivors(self, customer_ids: Iterable[str]) -> tuple[dict[str, str], dict[str, EventTime]]:
        """Loser to survivor, ERASED for whoever was erased; and when those were."""
        found = {customer_id: node for customer_id in customer_ids if (node := self.root(customer_id)) is not None}
        erased = {customer_id: node.changed_at for customer_id, node in found.items() if node.erased}
        merged = {customer_id: node.customer_id for customer_id, node in found.items() if node.customer_id != customer_id}
        return merged | dict.fromkeys(erased, ERASED), erased


def customer_id_of(identifier: Identifier, erased_at: EventTime = 0) -> str:
    """Of a new customer who is known by this; another one after each erasure of it."""
    return "c_" + make_id("customer", identifier.type, identifier.value, *([erased_at] if erased_at else []))[:24]


def identifier_name(identifier: Identifier) -> str:
    return f"{identifier.type}:{identifier.value}"


def identifier_named(name: str) -> Identifier:
    kind, _, value = name.partition(":")
    return Identifier(kind, value)


def device_named(device_id: str) -> Identifier:
    return Identifier(DEVICE, device_id)

"""The identity graph: which identifiers belong to which customer. Pure, over nodes that were fetched before.

A link is a fact that may be told any number of times, by any process, in any order: telling it again gives the same answer,
with the merges and the customer record that it caused the first time. So a crash between the graph's write and the partition's
loses nothing and repeats nothing.
"""

from __future__ import annotations

import msgspec

from cartstream.events.records import Customer, Identifier, Merge, make_id
from cartstream.events.times import DAY, EventTime
from cartstream.identity.identifiers import TYPES, strongest_first

DEVICES_SHOWN = 1_000
TELL_AGAIN = 30 * DAY
"""A customer who identifies is told of again after so long, so that no later service forgets the consent."""
EARLIER_KEPT = 8
CHANNEL_OF = {"email": "email", "phone": "sms", "push": "push"}


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


class Linked(msgspec.Struct):
    """The answer: whose event it is, who was merged because of it, and the customer record if it changed."""

    customer_id: str
    owns_device: bool
    merges: list[Merge]
    customer: Customer | None
    refused: list[str] = []


class Absorbed(msgspec.Struct, array_like=True):
    loser: str
    event_id: str
    at: EventTime
    identifier_type: str


class Told(msgspec.Struct, array_like=True):
    """What the customer record said after an earlier event: all of it that anybody decides by."""

    event_id: str
    at: EventTime
    consent: dict[str, bool]
    channels: list[str]
    timezone: str | None
    locale: str | None


class Node(msgspec.Struct, array_like=True):
    """A customer in the graph. Sealed addresses are `contacts`; each value comes with the event time that set it.

    `earlier` is what was told before the last change: a batch that changes a customer twice may have to be done again.
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
    """The part of the graph that some links may touch. `nodes` by customer, `owners` by `identifier_name`; `dirty` is what changed."""

    def __init__(self, nodes: dict[str, Node], owners: dict[str, str]) -> None:
        self.nodes, self.owners = nodes, owners
        self.dirty_nodes: set[str] = set()
        self.dirty_owners: set[str] = set()
        self.merges: list[Merge] = []

    def owner(self, identifier: Identifier) -> Node | None:
        customer_id = self.owners.get(identifier_name(identifier))
        return self.root(customer_id) if customer_id else None

    def root(self, customer_id: str) -> Node | None:
        node = self.nodes.get(customer_id)
        while node is not None and node.merged_into is not None:
            node = self.nodes.get(node.merged_into)
        return node


def identifier_name(identifier: Identifier) -> str:
    return f"{identifier.type}:{identifier.value}"


def link(view: View, request: LinkRequest, sealed: dict[str, bytes]) -> Linked:
    """Apply one request. `sealed` has the request's addresses as they may be stored.

    None found: create. One: attach. Several: merge, unless a limit forbids it: then the weakest identifier that stands in the way
    is set aside. A device whose customer is somebody else's stays out of it: it is never guessed.
    """
    device = Identifier("device", request.device_id)
    candidates: list[Identifier] = []
    refused: list[str] = []
    for identifier in strongest_first([*request.identifiers, device]):
        together = [*candidates, identifier]
        if _fits(_owners(view, together, request, device), together):
            candidates = together
        else:
            refused.append(identifier.type)
    owners = _owners(view, candidates, request, device)
    before = {owner.customer_id: owner.told() for owner in owners}
    node = _merged(view, owners, candidates, request)
    attached = _attach(view, node, candidates)
    stale = request.at - node.changed_at > TELL_AGAIN
    if _learn(view, node, request, sealed) or attached or stale:
        node.changed_at, node.changed_by = max(node.changed_at, request.at), request.event_id
        view.dirty_nodes.add(node.customer_id)
    last = before.get(node.customer_id)
    if last is not None and last.event_id not in ("", node.changed_by):
        node.earlier = [*node.earlier, last][-EARLIER_KEPT:]
    merges = [
        Merge(gone.loser, node.customer_id, gone.at, gone.event_id, gone.identifier_type)
        for gone in node.absorbed
        if gone.event_id == request.event_id
    ]
    return Linked(node.customer_id, device in candidates, merges, node.record(request.event_id), refused)


def _owners(view: View, candidates: list[Identifier], request: LinkRequest, device: Identifier) -> list[Node]:
    found: dict[str, Node] = {}
    for identifier in candidates:
        node = view.owner(identifier)
        if node is None and identifier == device:
            node = view.root(request.device_customer) or _new(view, request.device_customer, request.device_first_seen)
        if node is not None:
            found[node.customer_id] = node
    return list(found.values())


def _new(view: View, customer_id: str, first_seen: EventTime) -> Node:
    node = view.nodes[customer_id] = Node(customer_id, first_seen)
    view.dirty_nodes.add(customer_id)
    return node


def _fits(owners: list[Node], candidates: list[Identifier]) -> bool:
    """Nobody would get more values of a type than its limit."""
    together = {identifier for node in owners for identifier in node.identifiers}.union(candidates)
    counts: dict[str, int] = {}
    for identifier in together:
        counts[identifier.type] = counts.get(identifier.type, 0) + 1
    devices = len({device for node in owners for device in node.devices})
    return devices <= TYPES["device"].limit and all(n <= TYPES[kind].limit for kind, n in counts.items() if kind != "device")


def _merged(view: View, owners: list[Node], candidates: list[Identifier], request: LinkRequest) -> Node:
    """The survivor is the oldest by first event time, then by id."""
    if not owners:
        strongest = candidates[0]
        return _new(view, customer_id_of(strongest), request.at)
    survivor, *losers = sorted(owners, key=lambda node: (node.first_seen, node.customer_id))
    for loser in losers:
        _absorb(survivor, loser, request, candidates[0].type)
        view.dirty_nodes.update((survivor.customer_id, loser.customer_id))
        view.merges.append(Merge(loser.customer_id, survivor.customer_id, request.at, request.event_id, candidates[0].type))
    return survivor


def customer_id_of(identifier: Identifier) -> str:
    return "c_" + make_id("customer", identifier.type, identifier.value)[:24]


def _absorb(survivor: Node, loser: Node, request: LinkRequest, identifier_type: str) -> None:
    survivor.identifiers = sorted({*survivor.identifiers, *loser.identifiers})
    survivor.devices = sorted({*survivor.devices, *loser.devices})
    survivor.absorbed += [*loser.absorbed, Absorbed(loser.customer_id, request.event_id, request.at, identifier_type)]
    for channel, (said, at) in loser.consent.items():
        _consent(survivor, channel, said, at)
    for kind, (sealed, at) in loser.contacts.items():
        if kind not in survivor.contacts or at > survivor.contacts[kind][1]:
            survivor.contacts[kind] = (sealed, at)
    survivor.timezone = survivor.timezone or loser.timezone
    survivor.locale = survivor.locale or loser.locale
    survivor.changed_at, survivor.changed_by = max(survivor.changed_at, loser.changed_at, request.at), request.event_id
    loser.merged_into = survivor.customer_id
    loser.identifiers, loser.devices, loser.absorbed, loser.contacts, loser.consent = [], [], [], {}, {}


def _attach(view: View, node: Node, candidates: list[Identifier]) -> bool:
    changed = False
    for identifier in candidates:
        name = identifier_name(identifier)
        if view.owners.get(name) != node.customer_id:
            view.owners[name] = node.customer_id
            view.dirty_owners.add(name)
        if identifier.type == "device" and identifier.value not in node.devices:
            node.devices = sorted([*node.devices, identifier.value])
            changed = True
        elif identifier.type != "device" and identifier not in node.identifiers:
            node.identifiers = sorted([*node.identifiers, identifier])
            changed = True
    return changed


def _consent(node: Node, channel: str, said: bool, at: EventTime) -> bool:
    """The later word counts; at the same moment a revocation does. So a merge revokes unless there is a strictly later opt-in."""
    known = node.consent.get(channel)
    if known is not None and (at < known[1] or (at == known[1] and not known[0])):
        return False
    node.consent[channel] = (said, at)
    return known is None or known[0] != said


def _learn(view: View, node: Node, request: LinkRequest, sealed: dict[str, bytes]) -> bool:
    """Consent, time zone, locale and ways to reach the customer. True if the customer record changes."""
    changed = False
    if request.consent or sealed:
        view.dirty_nodes.add(node.customer_id)
    for channel, said in request.consent.items():
        changed |= _consent(node, channel, said, request.at)
    for kind, value in sealed.items():
        if kind not in node.contacts or request.at > node.contacts[kind][1]:
            changed |= kind not in node.contacts
            node.contacts[kind] = (value, request.at)
    if request.timezone and request.timezone != node.timezone and request.at >= node.changed_at:
        node.timezone, changed = request.timezone, True
    if request.locale and request.locale != node.locale and request.at >= node.changed_at:
        node.locale, changed = request.locale, True
    return changed

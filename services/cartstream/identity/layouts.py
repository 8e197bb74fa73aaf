"""Nodes, and whose an identifier is, as they are stored: in today's layout, or in the first, which is still read.

Of a node is stored what its key does not say: no id twice, and times as distances from when the customer was first seen.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from cartstream.events.read_model import REACHABLE, Contact, has_contact
from cartstream.events.records import Identifier
from cartstream.events.times import EventTime
from cartstream.identity.nodes import DEVICE, Absorbed, Node, Tie, Told, identifier_name
from cartstream.runtime.packed_keys import CUSTOMER, packed, shortened, unpacked

Short: TypeAlias = bytes
"""As `shortened` makes it."""

_OWNER_BYTES = 12
ADDRESSES = ("email", "phone", "push")


class StoredTie(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Whatever is one of the customer's identifiers or devices is its place among these. `event_id` None: the node's `changed_by`."""

    name: int | Short
    to: int | Short
    event_id: Short | None
    since: int


class StoredAbsorbed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    loser: Short
    event_id: Short
    since: int
    identifier_type: str


class StoredNode(msgspec.Struct, array_like=True, tag=REACHABLE):
    """It begins as `read_model.Reachable`. `known_since` is of each consent in the contact, then of each address.

    With the tag it has at most fifteen fields: beyond, msgpack would put the tag behind the second byte.
    """

    contact: Contact
    first_seen: EventTime
    identifiers: list[tuple[str, Short]]
    devices: list[Short]
    changed_since: int
    changed_by: Short
    known_since: list[int]
    ties: list[StoredTie]
    known: int = 0
    absorbed: list[StoredAbsorbed] = []
    earlier: list[Told] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredNode).decode
_decode_first = msgspec.msgpack.Decoder(Node).decode


def encode_node(node: Node) -> bytes:
    start = node.first_seen
    known = [*node.consent.values(), *(node.contacts[kind] for kind in ADDRESSES if kind in node.contacts)]
    return _encode(
        StoredNode(
            contact_of(node),
            start,
            [(one.type, shortened(one.value)) for one in node.identifiers],
            [*map(shortened, node.devices)],
            node.changed_at - start,
            shortened(node.changed_by),
            [at - start for _, at in known],
            _stored_ties(node),
            node.known,
            [StoredAbsorbed(shortened(one.loser), shortened(one.event_id), one.at - start, one.identifier_type) for one in node.absorbed],
            node.earlier,
        )
    )


def decode_node(customer_id: str, raw: bytes) -> Node:
    """Raises msgspec.MsgspecError."""
    if not has_contact(raw):
        return _decode_first(raw)
    stored = _decode(raw)
    contact, start = stored.contact, stored.first_seen
    since = iter(stored.known_since)
    sealed = zip(ADDRESSES, (contact.email, contact.phone, contact.push), strict=True)
    node = Node(
        customer_id,
        start,
        [Identifier(kind, unpacked(value)) for kind, value in stored.identifiers],
        [*map(unpacked, stored.devices)],
        [Absorbed(unpacked(one.loser), unpacked(one.event_id), start + one.since, one.identifier_type) for one in stored.absorbed],
        {channel: (said, start + next(since)) for channel, said in contact.consent.items()},
        {kind: (address, start + next(since)) for kind, address in sealed if address is not None},
        contact.timezone,
        contact.locale,
        start + stored.changed_since,
        unpacked(stored.changed_by),
        contact.merged_into,
        stored.earlier,
        known=stored.known,
    )
    node.ties = _ties(node, stored.ties)
    return node


def encode_owner(customer_id: str) -> bytes:
    """Twelve bytes: one more, and with Redis's own twenty it would take the allocator's next size."""
    short = packed(customer_id)
    return short[1:] if len(short) == _OWNER_BYTES + 1 < len(customer_id) else short


def decode_owner(raw: bytes) -> str:
    """The first layout was the text, of 26 letters."""
    return CUSTOMER + raw.hex() if len(raw) == _OWNER_BYTES else unpacked(raw)


def contact_of(node: Node) -> Contact:
    consent = {channel: said for channel, (said, _) in node.consent.items()}
    email, phone, push = (node.contacts[kind][0] if kind in node.contacts else None for kind in ADDRESSES)
    return Contact(consent, email, phone, push, node.timezone, node.locale, node.merged_into)


def _stored_ties(node: Node) -> list[StoredTie]:
    if not node.ties:
        return []
    changed_by, start = node.changed_by, node.first_seen
    place = {name: number for number, name in enumerate(_names(node))}
    return [
        StoredTie(
            place[tie.name] if tie.name in place else shortened(tie.name),
            place[tie.to] if tie.to in place else shortened(tie.to),
            None if tie.event_id == changed_by else shortened(tie.event_id),
            tie.at - start,
        )
        for tie in node.ties
    ]


def _ties(node: Node, stored: list[StoredTie]) -> list[Tie]:
    changed_by, start, names = node.changed_by, node.first_seen, _names(node)
    return [
        Tie(
            names[tie.name] if isinstance(tie.name, int) else unpacked(tie.name),
            names[tie.to] if isinstance(tie.to, int) else unpacked(tie.to),
            changed_by if tie.event_id is None else unpacked(tie.event_id),
            start + tie.since,
        )
        for tie in stored
    ]


def _names(node: Node) -> list[str]:
    return [*map(identifier_name, node.identifiers), *(f"{DEVICE}:{device}" for device in node.devices)]

"""A node is read as it was stored, and its head is the contact that senders read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartstream.events import read_model
from cartstream.events.read_model import ERASED, Contact
from cartstream.events.records import Identifier
from cartstream.identity.layouts import ADDRESSES, contact_of, decode_node, decode_owner, encode_node, encode_owner
from cartstream.identity.nodes import Absorbed, Node, Tie, Told, device_named, identifier_name
from cartstream.identity.state import anonymous_customer
from cartstream.runtime.packed_keys import CUSTOMER
from tests.properties.effort import examples

_HEX = "0123456789abcdef"
_TIMES = st.integers(0, 2**53)
_IDS = st.one_of(
    st.text(max_size=4),
    st.uuids().map(str),
    st.uuids().map(str).map(str.upper),
    st.text(_HEX + "AF-", min_size=32, max_size=36),
    st.text(_HEX, min_size=32, max_size=32),
    st.text(_HEX, min_size=24, max_size=24).map("c_".__add__),
    st.text("0123456789", min_size=12, max_size=12).map("00000000-0000-4000-8000-".__add__),
)
_IDENTIFIERS = st.builds(Identifier, st.sampled_from(["user_id", "email", "phone", "t"]), _IDS)
_CONSENT = st.dictionaries(st.sampled_from(["email", "sms", "push"]), st.booleans())
_NODES = st.builds(
    Node,
    _IDS,
    _TIMES,
    st.lists(_IDENTIFIERS, max_size=3, unique=True),
    st.lists(_IDS, max_size=3, unique=True),
    st.lists(st.builds(Absorbed, _IDS, _IDS, _TIMES, st.text(max_size=4)), max_size=2),
    st.dictionaries(st.sampled_from(["email", "sms", "push"]), st.tuples(st.booleans(), _TIMES)),
    st.dictionaries(st.sampled_from(ADDRESSES), st.tuples(st.binary(max_size=4), _TIMES)),
    st.none() | st.text(max_size=4),
    st.none() | st.text(max_size=4),
    _TIMES,
    _IDS,
    st.none() | st.just(ERASED) | _IDS,
    st.lists(st.builds(Told, _IDS, _TIMES, _CONSENT, st.lists(st.text(max_size=4), max_size=2), st.none(), st.none()), max_size=2),
    known=st.integers(0, 9),
)


@st.composite
def _tied(draw: st.DrawFn) -> Node:
    """With ties between its identifiers, of which some are nobody's any more, by its last event and by others."""
    node = draw(_NODES)
    own = [*map(identifier_name, node.identifiers), *(identifier_name(device_named(device)) for device in node.devices)]
    names = st.one_of(st.sampled_from(own), _IDS) if own else _IDS
    events = st.just(node.changed_by) | _IDS
    node.ties = draw(st.lists(st.builds(Tie, names, st.just("") | names, events, _TIMES), max_size=4))
    return node


@examples(300)
@given(_tied())
def test_a_node_is_read_as_it_was_stored(node: Node) -> None:
    raw = encode_node(node)
    assert decode_node(node.customer_id, raw) == node
    assert decode_node(node.customer_id, msgspec.msgpack.encode(node)) == node


@examples(100)
@given(_tied())
def test_its_head_is_its_contact(node: Node) -> None:
    raw = encode_node(node)
    assert read_model.has_contact(raw)
    assert read_model.contact_of(raw) == contact_of(node)
    assert not read_model.has_contact(msgspec.msgpack.encode(node))


@pytest.mark.parametrize("stored", ["c_236b20c4e1268b3072aaff27", "c_236B20C4E1268B3072AAFF27", "somebody"])
def test_an_owner_is_read_as_it_was_stored(stored: str) -> None:
    assert decode_owner(encode_owner(stored)) == stored
    assert decode_owner(stored.encode()) == stored, "as the first layout was"


def test_an_owner_takes_twelve_bytes() -> None:
    owner = anonymous_customer("d1")
    assert CUSTOMER + encode_owner(owner).hex() == owner
    assert len(encode_owner(owner)) == 12


def test_a_contact_has_what_a_sender_needs() -> None:
    node = Node("c", 5, consent={"sms": (True, 9)}, contacts={"push": (b"p", 6), "phone": (b"t", 7)}, timezone="Europe/Berlin")
    assert contact_of(node) == Contact({"sms": True}, None, b"t", b"p", "Europe/Berlin")
    assert contact_of(Node("c", 5, merged_into=ERASED)) == Contact(merged_into=ERASED)


def test_a_customer_as_most_are_takes_less_than_half_of_the_first_layout() -> None:
    email, user, event = Identifier("email", "f5294f5414a79017194e652af64c8128"), Identifier("user_id", "user-13296"), "a" * 32
    device, at = "0c0033f0-0000-4000-8000-0000000033f0", 1_795_370_674_390
    ties = [Tie(name, identifier_name(user), event, at) for name in (identifier_name(email), f"device:{device}")]
    node = Node("c_236b20c4e1268b3072aaff27", at, [email, user], [device], ties=ties, known=1, changed_at=at, changed_by=event)
    node.consent, node.contacts = {"email": (True, at)}, {"email": (bytes(50), at)}

    assert len(encode_node(node)) < 0.4 * len(msgspec.msgpack.encode(node))


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x92\x02\x01", b"\x8f"])
def test_what_is_no_node_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_node("c", raw)

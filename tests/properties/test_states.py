"""What one release wrote to Redis, the next one reads; and what is written is what is read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartstream.detection.state import DetectionState, decode_state, encode_state
from cartstream.events import read_model
from cartstream.events.read_model import Guard
from cartstream.identity.nodes import Node
from cartstream.sessions import layouts
from cartstream.sessions.basket import NOTHING, Basket, Line, pack, packed
from cartstream.sessions.layouts import FirstState, SecondState
from cartstream.sessions.state import CustomerState, Visit
from tests.pipeline.shop import stages
from tests.properties import golden
from tests.properties.effort import examples
from tests.properties.golden import recorded
from tests.properties.shapes import STORED, layout, named, values

RECORDED = [(number, name, entry) for number, entries in recorded() for name, entry in entries.items()]
FIRST_LAYOUT_OF_SESSIONS = range(1, 4)
SECOND_LAYOUT_OF_SESSIONS = range(4, 6)
FIRST_LAYOUT_OF_NODES = range(1, 17)


def unread(kind: type[msgspec.Struct], entry: dict[str, Any]) -> str | None:
    """Why a recorded encoding is not read as what it meant, or None."""
    try:
        read = named(msgspec.msgpack.decode(bytes.fromhex(entry["encoding"]), type=kind))
    except msgspec.ValidationError as error:
        return str(error)
    return _difference(entry["value"], read, kind.__name__)


def _difference(meant: Any, read: Any, place: str) -> str | None:
    """Fields that came later are not in `meant`."""
    if isinstance(meant, dict) and isinstance(read, dict):
        inner = [_difference(value, read.get(name, "no such field"), f"{place}.{name}") for name, value in meant.items()]
    elif isinstance(meant, list) and isinstance(read, list) and len(meant) == len(read):
        inner = [_difference(a, b, f"{place}[{at}]") for at, (a, b) in enumerate(zip(meant, read, strict=True))]
    else:
        return None if meant == read else f"{place}: {meant!r} is read as {read!r}"
    return next((found for found in inner if found), None)


def test_todays_layouts_are_recorded() -> None:
    """A struct that is stored has changed: it may only grow, at the end and with a default. Then `python -m tests.properties.golden`."""
    latest = {name: entry["layout"] for name, entry in recorded()[-1][1].items()}
    assert latest == golden.layouts()


@pytest.mark.parametrize(("number", "name", "entry"), [pytest.param(*case, id=f"{case[1]} {case[0]}") for case in RECORDED])
def test_every_recorded_encoding_is_read_as_what_it_meant(number: int, name: str, entry: dict[str, Any]) -> None:
    kind = STORED[name]
    if name == "sessions" and number in FIRST_LAYOUT_OF_SESSIONS:
        kind = FirstState
    elif name == "sessions" and number in SECOND_LAYOUT_OF_SESSIONS:
        kind = SecondState
    elif name == "identity directory" and number in FIRST_LAYOUT_OF_NODES:
        kind = Node
    assert unread(kind, entry) is None


@pytest.mark.parametrize(("number", "entries"), [pytest.param(*each, id=str(each[0])) for each in recorded()])
def test_each_stage_reads_and_stores_again_what_it_ever_stored(number: int, entries: dict[str, Any]) -> None:
    for stage in stages():
        if stage.name == "sessions" and number in SECOND_LAYOUT_OF_SESSIONS:
            continue  # what is recorded has no cart that could be opened: see below
        state = stage.decode_state(bytes.fromhex(entries[stage.name]["encoding"]))
        assert stage.decode_state(stage.encode_state(state)) == state


@pytest.mark.parametrize(
    ("basket", "merged_into", "guard"),
    [
        (Basket({"p1": Line(1, 2.5, "Tea", 7)}, version=7, order_mark=3), None, Guard(3, 7, False)),
        (Basket(version=9, order_mark=9), None, Guard(9, 9, True)),
        (None, "the survivor", Guard(merged_into="the survivor")),
        (None, None, None),
    ],
)
def test_a_sessions_state_of_the_second_layout_is_read_with_the_guard_that_its_cart_makes(
    basket: Basket | None, merged_into: str | None, guard: Guard | None
) -> None:
    cart = packed(basket) if basket is not None else NOTHING
    second = SecondState("ann", [Visit("d1", "", 1, 2, 3)], 5, b"seen", merged_into, 6, cart)

    state = layouts.decode_state(msgspec.msgpack.encode(second))

    assert state == CustomerState("ann", guard, second.visits, 5, b"seen", merged_into, 6, cart)
    assert read_model.guard_of(layouts.encode_state(state)) == guard
    assert read_model.has_guard(layouts.encode_state(state))
    assert not read_model.has_guard(msgspec.msgpack.encode(second))


def test_a_visit_of_the_second_layout_has_its_views_at_their_times() -> None:
    views = [("p1", 1_700_000_000_500), ("p2", 1_700_000_000_900)]
    visit = Visit("d1", "", 1_700_000_000_400, 1_700_000_001_000, 2, views=2, viewed=b"".join(map(pack, views)))

    state = layouts.decode_state(msgspec.msgpack.encode(SecondState("ann", [visit])))

    assert [known.products() for known in state.visits] == [views]
    assert state.visits[0].started_at == visit.started_at
    assert len(state.visits[0].viewed) < len(visit.viewed)


@examples(200)
@given(values(DetectionState))
def test_a_detection_state_is_read_as_it_was_stored(value: DetectionState) -> None:
    state = msgspec.structs.replace(value, kept_cart=None, kept_open=[], relative=False)
    assert decode_state(encode_state(state)) == state


@pytest.mark.parametrize("name", STORED)
def test_a_field_that_is_inserted_removed_or_moved_is_noticed(name: str) -> None:
    kind, entry = STORED[name], recorded()[-1][1][name]
    fields = [(field.name, field.type, None) for field in msgspec.structs.fields(kind)]
    new = ("new", str | None, None)
    assert layout(_like(kind, [*fields, new])) != entry["layout"]
    for changed in ([new, *fields], [*fields[:-1], new, fields[-1]], fields[1:], fields[:-1], [*fields[1:], fields[0]]):
        assert layout(_like(kind, changed)) != entry["layout"]
        assert unread(_like(kind, changed), entry) is not None


def _like(kind: type[msgspec.Struct], fields: list[tuple[str, Any, Any]]) -> type[msgspec.Struct]:
    return msgspec.defstruct(kind.__name__, fields, array_like=True)


@pytest.mark.parametrize("name", STORED)
@examples(50)
@given(draw=st.data())
def test_what_is_encoded_is_what_is_decoded(name: str, draw: st.DataObject) -> None:
    value = draw.draw(values(STORED[name]))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=STORED[name]) == value

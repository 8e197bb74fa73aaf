"""The generated writers say the same bytes as fastavro."""

from __future__ import annotations

import io
import json
from typing import Any, get_args, get_origin

import fastavro
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cartstream.events import avro_writer
from cartstream.events.avro import TYPES, codec, schema_folder
from cartstream.events.avro_writer import compile_writer, varint


def by_fastavro(name: str, value: msgspec.Struct) -> bytes:
    schema = fastavro.parse_schema(json.loads((schema_folder() / f"{name}.avsc").read_text()))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, msgspec.to_builtins(value, builtin_types=(bytes,)))
    return body.getvalue()


_LEAVES = {
    int: st.integers(-(2**63), 2**63 - 1),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=300),
    type(None): st.none(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type, every field given: hypothesis alone would take msgspec's default factories for values."""
    if kind in _LEAVES:
        return _LEAVES[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{field.name: values_of(field.type) for field in msgspec.structs.fields(kind)})
    parts = [values_of(part) for part in get_args(kind)]
    if get_origin(kind) is list:
        return st.lists(*parts, max_size=3)
    return st.dictionaries(*parts, max_size=3) if get_origin(kind) is dict else st.one_of(*parts)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_writer_says_what_fastavro_says(name: str) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(values_of(TYPES[name]))
    def same_bytes(value: msgspec.Struct) -> None:
        assert codec().encode(value)[5:] == by_fastavro(name, value)

    same_bytes()


class At(msgspec.Struct):
    at: int


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_varint_of_any_long_is_read_back(number: int) -> None:
    assert fastavro.schemaless_reader(io.BytesIO(varint(number)), fastavro.parse_schema("long"), None) == number


EDGES = [
    -1,
    0,
    255,
    256,
    (1 << 34) - 1,
    1 << 34,
    (1 << 34) + 8_191,
    (1 << 34) + 8_192,
    1_790_000_000_000,
    (1 << 41) - 1,
    1 << 41,
    2**63 - 1,
]


@pytest.mark.parametrize("number", EDGES)
def test_a_time_and_its_neighbours_are_read_back(number: int) -> None:
    schema = fastavro.parse_schema({"type": "record", "name": "one", "fields": [{"name": "at", "type": "long"}]})
    write = compile_writer(schema, b"")

    assert fastavro.schemaless_reader(io.BytesIO(write(At(number))), schema, None) == {"at": number}
    assert write(At(number)) == varint(number)


def test_what_is_kept_of_times_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_writer, "_HIGH_LIMIT", 3)
    kept = avro_writer.High()

    assert [kept[rest] for rest in range(1 << 28, (1 << 28) + 8)] == [varint(rest << 13)[2:] for rest in range(1 << 28, (1 << 28) + 8)]
    assert len(kept) <= 3


def test_a_union_without_null_first_has_no_writer() -> None:
    schema = {"type": "record", "name": "odd", "fields": [{"name": "x", "type": ["string", "null"]}]}
    with pytest.raises(TypeError, match="only null first"):
        compile_writer(schema, b"")

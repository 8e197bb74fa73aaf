from __future__ import annotations

import io
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from cartstream.errors import Refused
from cartstream.events.avro import TYPES, Codec, codec, schema_folder
from cartstream.events.avro_shape import shape
from cartstream.events.records import Cart, Command, Merge, Watermark

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN: dict[type[inspect.Type], st.SearchStrategy[Any]] = {
    inspect.NoneType: st.none(),
    inspect.StrType: TEXT,
    inspect.IntType: st.integers(-(2**63), 2**63 - 1),
    inspect.FloatType: st.floats(allow_nan=False),
    inspect.BoolType: st.booleans(),
    inspect.BytesType: st.binary(max_size=20),
}
MERGE = Merge("old", "new", 1_710_000_000_000, "m1", "user_id")


def values(info: inspect.Type) -> st.SearchStrategy[Any]:
    """Anything that a type of `records` may hold."""
    match info:
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: values(field.type) for field in fields})
        case inspect.UnionType(types=types):
            return st.one_of(*map(values, types))
        case inspect.ListType(item_type=item):
            return st.lists(values(item), max_size=3)
        case inspect.DictType(value_type=value):
            return st.dictionaries(TEXT, values(value), max_size=3)
        case _:
            return PLAIN[type(info)]


@pytest.mark.parametrize("name", sorted(TYPES))
def test_what_is_written_is_read_back(name: str) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(values(inspect.type_info(TYPES[name])))
    def same(value: msgspec.Struct) -> None:
        raw = codec().encode(value)
        assert raw[:5] == codec().header_of(TYPES[name])
        assert codec().decode(raw) == value

    same()


@pytest.mark.parametrize("name", sorted(TYPES))
def test_the_schema_file_says_what_the_type_says(name: str) -> None:
    assert json.loads((schema_folder() / f"{name}.avsc").read_text()) == shape(TYPES[name])


def test_every_type_has_one_entry_in_the_manifest_and_every_id_is_used_once() -> None:
    entries = json.loads((schema_folder() / "manifest.json").read_text())
    assert {entry["name"] for entry in entries} == set(TYPES)
    assert len({entry["id"] for entry in entries}) == len(entries)
    assert len({codec().header_of(kind) for kind in TYPES.values()}) == len(TYPES)


def with_older(folder: Path, name: str, without: str) -> bytes:
    """Give `name` an older schema, id 900, that lacks a field; the header of records written with it."""
    shutil.copytree(schema_folder(), folder, dirs_exist_ok=True)
    older = json.loads((folder / f"{name}.avsc").read_text())
    older["fields"] = [field for field in older["fields"] if field["name"] != without]
    (folder / "older.avsc").write_text(json.dumps(older))
    entries = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps([{"id": 900, "name": name, "file": "older.avsc"}, *entries]))
    return struct.pack(">bI", 0, 900)


def written_with(path: Path, header: bytes, value: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(path.read_text())), value)
    return header + body.getvalue()


def test_a_record_of_an_older_schema_is_read_with_todays_defaults(tmp_path: Path) -> None:
    header = with_older(tmp_path, "command", "cause_at")
    command = Command("c", "ann", "email", "cart", "reminder", "t", 1, 2, "cart", 0, Cart(1, [], 0.0), ["a"], "10%", "de", 77)
    raw = written_with(tmp_path / "older.avsc", header, msgspec.to_builtins(command))
    reader = Codec(tmp_path)

    assert reader.decode(raw) == msgspec.structs.replace(command, cause_at=0)
    assert reader.decode(reader.encode(command)) == command
    assert reader.encode(command)[:5] == codec().header_of(Command)


def test_a_record_of_an_unknown_schema_is_refused() -> None:
    with pytest.raises(Refused, match="no schema id") as refused:
        codec().decode(struct.pack(">bI", 0, 12_345) + b"x")
    assert refused.value.reason == "bad_header"


@pytest.mark.parametrize("value", [MERGE, Watermark("identity:0", 3, 2**40)], ids=["merge", "watermark"])
def test_a_record_cut_short_is_refused(value: msgspec.Struct) -> None:
    raw = codec().encode(value)
    for length in range(len(raw)):
        with pytest.raises(Refused):
            codec().decode(raw[:length])


@given(st.sampled_from(sorted(TYPES)), st.binary(max_size=40))
def test_any_bytes_under_a_known_header_are_read_or_refused(name: str, body: bytes) -> None:
    try:
        value = codec().decode(codec().header_of(TYPES[name]) + body)
    except Refused:
        return
    assert isinstance(value, TYPES[name])

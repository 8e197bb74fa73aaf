"""What a state is made of: the struct types behind its encoding, field by field, and values of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from cartstream.detection import product as detection_product
from cartstream.detection.state import DetectionState
from cartstream.events.read_model import Contact, Guard
from cartstream.identity.layouts import StoredNode
from cartstream.identity.nodes import Node
from cartstream.identity.state import DeviceState
from cartstream.journeys.state import JourneyState
from cartstream.products import step as products_step
from cartstream.runtime.store import Checkpoint, Wire
from cartstream.sessions.basket import Basket, Waiting
from cartstream.sessions.layouts import FirstState, SecondState
from cartstream.sessions.state import CustomerState

STORED: dict[str, type[msgspec.Struct]] = {
    "identity": DeviceState,
    "identity directory": StoredNode,
    "identity directory: first layout": Node,
    "sessions": CustomerState,
    "sessions: cart": Basket,
    "sessions: waiting": Waiting,
    "sessions: first layout": FirstState,
    "sessions: second layout": SecondState,
    "detection": DetectionState,
    "detection: product": detection_product.ProductState,
    "products": products_step.ProductState,
    "journeys": JourneyState,
    "checkpoint": Checkpoint,
    "outbox": Wire,
    "guard": Guard,
    "contact": Contact,
}
"""Everything that is encoded into Redis by one release and read by the next."""


def layout(kind: type[msgspec.Struct]) -> dict[str, list[str]]:
    """Each struct that an encoding of `kind` may hold: its fields in order, with their types."""
    found: dict[str, list[str]] = {}
    _collect(inspect.type_info(kind), found)
    return found


def _collect(info: inspect.Type, found: dict[str, list[str]]) -> None:
    if isinstance(info, inspect.StructType):
        tag = "" if info.tag is None else f" {info.tag}"
        name = info.cls.__name__ + tag + ("" if info.array_like else " by name")
        if name not in found:
            found[name] = [f"{field.name}: {_name(field.type)}" for field in info.fields]
            for field in info.fields:
                _collect(field.type, found)
    for inner in _inner(info):
        _collect(inner, found)


def _inner(info: inspect.Type) -> Iterator[inspect.Type]:
    match info:
        case inspect.UnionType(types=types):
            yield from types
        case inspect.TupleType(item_types=types):
            yield from types
        case inspect.ListType(item_type=item):
            yield item
        case inspect.DictType(value_type=value):
            yield value


def _name(info: inspect.Type) -> str:
    if isinstance(info, inspect.StructType):
        return info.cls.__name__
    inner = [_name(part) for part in _inner(info)]
    kind = type(info).__name__.removesuffix("Type").lower()
    return " | ".join(inner) if kind == "union" else f"{kind}[{', '.join(inner)}]" if inner else kind


def named(value: Any) -> Any:
    """A value as JSON can hold it, structs as objects by field name: what it means, whatever its encoding."""
    if isinstance(value, msgspec.Struct):
        return {name: named(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: named(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [named(inner) for inner in value]
    return bytes(value).hex() if isinstance(value, (bytes, msgspec.Raw)) else value


def full(kind: type[msgspec.Struct]) -> Any:
    """A value in which nothing is empty, and no two numbers or texts beside each other are the same."""
    return _full(inspect.type_info(kind), 1)


def _full(info: inspect.Type, n: int) -> Any:
    match info:
        case inspect.StructType(cls=cls, fields=fields):
            return cls(*(_full(field.type, n + at) for at, field in enumerate(fields)))
        case inspect.UnionType(types=types):
            return next(_full(inner, n) for inner in types if not isinstance(inner, inspect.NoneType))
        case inspect.TupleType(item_types=types):
            return tuple(_full(inner, n + at) for at, inner in enumerate(types))
        case inspect.ListType(item_type=item):
            return [_full(item, n), _full(item, n + 1)]
        case inspect.DictType(value_type=value):
            return {f"k{n}": _full(value, n), "ключ": _full(value, n + 1)}
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 1_700_000_000_000 + n
        case inspect.FloatType():
            return n + 0.5
        case inspect.BytesType():
            return bytes(range(n, n + 16))
        case inspect.RawType():
            return msgspec.Raw(msgspec.msgpack.encode(f"packed {n}"))
        case inspect.StrType():
            return f"t{n}-ü"
    raise TypeError(f"no value for {info}")


def values(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any value of the type."""
    return _values(inspect.type_info(kind))


_TEXTS = st.text(max_size=8)


def _values(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, *(_values(field.type) for field in fields))
        case inspect.UnionType(types=types):
            return st.one_of(*map(_values, types))
        case inspect.TupleType(item_types=types):
            return st.tuples(*map(_values, types))
        case inspect.ListType(item_type=item):
            return st.lists(_values(item), max_size=2)
        case inspect.DictType(value_type=value):
            return st.dictionaries(_TEXTS, _values(value), max_size=2)
    plain: dict[type[inspect.Type], st.SearchStrategy[Any]] = {
        inspect.NoneType: st.none(),
        inspect.BoolType: st.booleans(),
        inspect.IntType: st.integers(-(2**63), 2**63 - 1),
        inspect.FloatType: st.floats(allow_nan=False),
        inspect.BytesType: st.binary(max_size=8),
        inspect.StrType: _TEXTS,
        inspect.RawType: _TEXTS.map(lambda text: msgspec.Raw(msgspec.msgpack.encode(text))),
    }
    return plain[type(info)]

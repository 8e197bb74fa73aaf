"""A writer for one Avro schema, generated as Python source: a third of fastavro's time for the types of `records`.

fastavro takes dictionaries and finds each union's branch by validating; here the attributes of a value are written as they are.
Encoding outputs was a quarter of what the sessions service did (see `docs/performance.md`). fastavro reads what this writes, and the
tests hold both to the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgspec

Writer = Callable[[msgspec.Struct], bytes]

_SHORT = 256
_FIRST_TIME, _LAST_TIME = 1 << 34, (1 << 41) - 1
"""Epoch milliseconds of our age: those with six bytes."""
_LOW_BITS = 13
_HIGH_LIMIT = 16_384


def varint(number: int) -> bytes:
    """Avro's zigzag varint."""
    n = (number << 1) ^ (number >> 63)
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


class High(dict[int, bytes]):
    """The last four bytes of a time, by what is left of it without its lowest bits: the same for eight seconds."""

    def __missing__(self, rest: int) -> bytes:
        if len(self) >= _HIGH_LIMIT:
            self.clear()
        found = self[rest] = varint(rest << _LOW_BITS)[2:]
        return found


_SMALL = tuple(varint(number) for number in range(_SHORT))
_LOW = tuple(varint(_FIRST_TIME + number)[:2] for number in range(1 << _LOW_BITS))


def compile_writer(schema: Any, header: bytes) -> Writer:
    """`schema` is a record as fastavro parses it. The writer's values have its fields as attributes; it puts `header` in front."""
    source = _Source()
    source.line("def write(value):")
    source.line("    parts = [header]")
    source.line("    put = parts.append")
    source.record(schema, "value", 1)
    source.line("    return join(parts)")
    names: dict[str, Any] = {
        "header": header,
        "join": b"".join,
        "small": _SMALL,
        "low": _LOW,
        "high": High(),
        "varint": varint,
        "double": struct.Struct("<d").pack,
    }
    exec("\n".join(source.lines), names)  # noqa: S102 (made of our own schema's field names)
    writer: Writer = names["write"]
    return writer


class _Source:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self._named: dict[str, Any] = {}
        self._fresh = 0

    def line(self, text: str) -> None:
        self.lines.append(text)

    def record(self, schema: Any, value: str, depth: int) -> None:
        self._named[schema["name"]] = schema
        for field in schema["fields"]:
            self._value(field["type"], f"{value}.{field['name']}", depth)

    def _value(self, kind: Any, value: str, depth: int) -> None:
        pad = "    " * depth
        if isinstance(kind, list):
            null, branch = kind
            if null != "null":
                raise TypeError(f"no writer for the union {kind!r}: only null first and one more")
            self._optional(branch, value, depth)
        elif isinstance(kind, dict) and kind["type"] == "record":
            self._nested(kind, value, depth)
        elif isinstance(kind, dict):
            self._many(kind, value, depth)
        elif kind in self._named:
            self._nested(self._named[kind], value, depth)
        elif kind in ("string", "bytes"):
            raw = self._name()
            self.line(f"{pad}{raw} = {value}" + (".encode()" if kind == "string" else ""))
            self._length(raw, depth)
            self.line(f"{pad}put({raw})")
        elif kind == "long":
            number = self._name()
            self.line(f"{pad}{number} = {value}")
            time = f"low[{number} & {len(_LOW) - 1}] + high[{number} >> {_LOW_BITS}] if {_FIRST_TIME} <= {number} <= {_LAST_TIME}"
            self.line(f"{pad}put(small[{number}] if 0 <= {number} < {_SHORT} else {time} else varint({number}))")
        elif kind == "double":
            self.line(f"{pad}put(double({value}))")
        elif kind == "boolean":
            self.line(f"{pad}put(b'\\1' if {value} else b'\\0')")
        else:
            raise TypeError(f"no writer for Avro {kind!r}")

    def _nested(self, schema: Any, value: str, depth: int) -> None:
        name = self._name()
        self.line(f"{'    ' * depth}{name} = {value}")
        self.record(schema, name, depth)

    def _optional(self, kind: Any, value: str, depth: int) -> None:
        pad, name = "    " * depth, self._name()
        self.line(f"{pad}{name} = {value}")
        self.line(f"{pad}if {name} is None:")
        self.line(f"{pad}    put(b'\\0')")
        self.line(f"{pad}else:")
        self.line(f"{pad}    put(b'\\2')")
        self._value(kind, name, depth + 1)

    def _many(self, kind: Any, value: str, depth: int) -> None:
        pad, name, entry = "    " * depth, self._name(), self._name()
        self.line(f"{pad}{name} = {value}")
        self.line(f"{pad}if {name}:")
        self._length(name, depth + 1)
        if kind["type"] == "map":
            key = self._name()
            self.line(f"{pad}    for {key}, {entry} in {name}.items():")
            self._value("string", key, depth + 2)
            self._value(kind["values"], entry, depth + 2)
        else:
            self.line(f"{pad}    for {entry} in {name}:")
            self._value(kind["items"], entry, depth + 2)
        self.line(f"{pad}put(b'\\0')")

    def _length(self, name: str, depth: int) -> None:
        self.line(f"{'    ' * depth}put(small[len({name})] if len({name}) < {_SHORT} else varint(len({name})))")

    def _name(self) -> str:
        self._fresh += 1
        return f"v{self._fresh}"

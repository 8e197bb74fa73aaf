"""The Avro schema that a value type of `records` needs: what `schemas/*.avsc` must say, and how they are first written.

`python -m cartstream.events.avro_shape schemas` writes the files and the manifest anew for types that have none yet.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from cartstream.events.avro import TYPES

_NAMESPACE = "cartstream"


def shape(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema, fields in the type's order, with its defaults."""
    return dict(_of(inspect.type_info(kind), set()))


def _of(info: inspect.Type, seen: set[str]) -> Any:
    match info:
        case inspect.StructType(cls=cls):
            return _record(info, cls.__name__, seen)
        case inspect.UnionType(types=types):
            (inner,) = (t for t in types if not isinstance(t, inspect.NoneType))
            return ["null", _of(inner, seen)]
        case inspect.ListType(item_type=item):
            return {"type": "array", "items": _of(item, seen)}
        case inspect.DictType(value_type=value):
            return {"type": "map", "values": _of(value, seen)}
        case inspect.StrType():
            return "string"
        case inspect.IntType():
            return "long"
        case inspect.FloatType():
            return "double"
        case inspect.BoolType():
            return "boolean"
        case inspect.BytesType():
            return "bytes"
    raise TypeError(f"no Avro for {info}")


def _record(info: inspect.StructType, name: str, seen: set[str]) -> Any:
    if name in seen:
        return f"{_NAMESPACE}.{name}"
    seen.add(name)
    fields = []
    for field in info.fields:
        entry: dict[str, Any] = {"name": field.name, "type": _of(field.type, seen)}
        if field.default is not msgspec.NODEFAULT:
            entry["default"] = field.default
        elif field.default_factory is not msgspec.NODEFAULT:
            entry["default"] = field.default_factory()
        fields.append(entry)
    return {"type": "record", "name": name, "namespace": _NAMESPACE, "fields": fields}


def main(folder: Path) -> None:
    manifest = folder / "manifest.json"
    entries = json.loads(manifest.read_text()) if manifest.exists() else []
    known = {entry["name"] for entry in entries}
    for name, kind in TYPES.items():
        if name in known:
            continue
        (folder / f"{name}.avsc").write_text(json.dumps(shape(kind), indent=2) + "\n")
        entries.append({"id": max((entry["id"] for entry in entries), default=0) + 1, "name": name, "file": f"{name}.avsc"})
    manifest.write_text(json.dumps(entries, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

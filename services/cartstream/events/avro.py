"""Avro in Confluent's wire format: byte 0, a four-byte schema id, the body.

Ids come from `schemas/manifest.json`, so no registry is needed to read or write. A record written with an older schema id
is read through Avro's schema resolution into today's type.
"""

from __future__ import annotations

import io
import json
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import fastavro
import msgspec

from cartstream.errors import ConfigError, Refused
from cartstream.events import records
from cartstream.events.avro_writer import Writer, compile_writer

TYPES: dict[str, type[msgspec.Struct]] = {
    "activity": records.Activity,
    "signal": records.Signal,
    "decision": records.Decision,
    "command": records.Command,
    "delivery": records.Delivery,
    "customer": records.Customer,
    "merge": records.Merge,
    "refused_link": records.RefusedLink,
    "corrected_customer": records.CorrectedCustomer,
    "split": records.Split,
    "handover": records.Handover,
    "watermark": records.Watermark,
    "channel_failed": records.ChannelFailed,
    "product": records.Product,
    "note": records.Note,
}


def schema_folder() -> Path:
    """Beside the package when installed, at the top of the repository in a checkout."""
    here = Path(__file__).resolve()
    for folder in (here.parents[1] / "schemas", here.parents[3] / "schemas"):
        if (folder / "manifest.json").is_file():
            return folder
    raise ConfigError(f"schemas/manifest.json not found near {here.parents[1]}: reinstall cartstream")


class Codec:
    """Encodes the types of `records` and decodes whatever schema id a record carries."""

    def __init__(self, folder: Path) -> None:
        self._writers: dict[type[msgspec.Struct], Writer] = {}
        self._headers: dict[type[msgspec.Struct], bytes] = {}
        self._readers: dict[bytes, tuple[type[msgspec.Struct], Any, Any]] = {}
        entries = json.loads((folder / "manifest.json").read_text())
        current = {entry["name"]: _load(folder / entry["file"]) for entry in entries}
        for entry in entries:
            kind, header = TYPES[entry["name"]], struct.pack(">bI", 0, entry["id"])
            written, read = _load(folder / entry["file"]), current[entry["name"]]
            self._readers[header] = (kind, written, read)
            if written == read:
                self._writers[kind] = compile_writer(written, header)
                self._headers[kind] = header

    def encode(self, value: msgspec.Struct) -> bytes:
        return self._writers[type(value)](value)

    def decode(self, raw: bytes) -> Any:
        """A record of `records`. Raises Refused (`bad_header`, `wrong_schema`)."""
        entry = self._readers.get(raw[:5])
        if entry is None:
            raise Refused("bad_header", f"the first five bytes are {raw[:5].hex()!r}, no schema id of schemas/manifest.json")
        kind, written, read = entry
        body = io.BytesIO(raw)
        body.seek(5)
        try:
            return msgspec.convert(fastavro.schemaless_reader(body, written, None if written is read else read), kind)
        except (ValueError, EOFError, TypeError, IndexError, KeyError, struct.error, msgspec.ValidationError) as error:
            raise Refused("wrong_schema", f"not a {kind.__name__}: {type(error).__name__}") from error

    def header_of(self, kind: type[msgspec.Struct]) -> bytes:
        return self._headers[kind]


def _load(path: Path) -> Any:
    return fastavro.parse_schema(json.loads(path.read_text()))


@lru_cache(maxsize=1)
def codec() -> Codec:
    return Codec(schema_folder())

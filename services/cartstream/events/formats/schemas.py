"""Where the schema of an Avro record is found: in a folder with a manifest, or in a registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import fastavro

from cartstream.errors import ConfigError, Refused

UNKNOWN = "unknown_schema"
JSON = "JSON"
"""In place of a schema: the body is JSON text."""


class Schemas(Protocol):
    """Schemas by the id that a record carries: a number, or a GUID as text. One is asked for once."""

    def schema(self, id: int | str) -> Any:
        """As fastavro parses it, or `JSON`. Raises Refused (`unknown_schema`), Unavailable."""


class Manifest:
    """`manifest.json` in a folder, `[{"id": 1, "file": "click.avsc"}]`: what is needed without a registry."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError with the file."""
        path = folder / "manifest.json"
        try:
            entries = json.loads(path.read_text())
            self._schemas = {int(entry["id"]): fastavro.parse_schema(json.loads((folder / entry["file"]).read_text())) for entry in entries}
        except (OSError, ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
            raise ConfigError(f"{path}: cannot be used as a list of Avro schemas, with id and file: {error}") from error

    def schema(self, id: int | str) -> Any:
        if id not in self._schemas:
            raise Refused(UNKNOWN, f"schema id {id} is not in the manifest of the input's schemas")
        return self._schemas[int(id)]

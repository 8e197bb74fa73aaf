"""Records of a file: a line each, an Avro container's records, or lines that hold a whole Kafka record as `kcat -J` prints it.

Such a line is `{"topic", "key", "ts", "headers": [name, value, …], "payload"}`; a payload that is no text stands in `payload_base64`, and
headers may be an object as well. Files may be gzipped.
"""

from __future__ import annotations

import base64
import binascii
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import fastavro
import orjson

from cartstream.errors import ConfigError
from cartstream.events.formats.avro import as_json
from cartstream.events.formats.native import Incoming

CONTAINER = b"Obj\x01"


def records(path: Path) -> Iterator[tuple[int, Incoming]]:
    """Each with its number in the file, from 1. Raises ConfigError."""
    try:
        with _open(path) as stream:
            if stream.read(len(CONTAINER)) == CONTAINER:
                stream.seek(0)
                yield from _container(path, stream)
                return
        with _open(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _of_line(line.rstrip(b"\r\n"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; name a readable file") from error


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _container(path: Path, stream: BinaryIO) -> Iterator[tuple[int, Incoming]]:
    number = 0
    try:
        for number, found in enumerate(fastavro.reader(stream), start=1):
            yield number, Incoming(as_json(found, native=False))
    except (ValueError, EOFError, TypeError, IndexError, KeyError) as error:
        raise ConfigError(f"{path}, record {number + 1}: not an Avro container ({type(error).__name__})") from error


def _of_line(line: bytes) -> Incoming:
    if b'"payload' not in line or b'"topic"' not in line:
        return Incoming(line)
    try:
        found = orjson.loads(line)
        payload = _payload(found) if isinstance(found, dict) and "topic" in found else None
    except (orjson.JSONDecodeError, binascii.Error):
        return Incoming(line)
    if payload is None:
        return Incoming(line)
    key, at = found.get("key"), found.get("ts")
    headers = [(str(name), None if value is None else str(value).encode()) for name, value in _headers(found.get("headers"))]
    return Incoming(payload, key.encode() if isinstance(key, str) else None, headers, at if isinstance(at, int) else 0)


def _payload(found: dict[str, Any]) -> bytes | None:
    if isinstance(found.get("payload_base64"), str):
        return base64.b64decode(found["payload_base64"], validate=True)
    payload = found.get("payload")
    return payload.encode() if isinstance(payload, str) else None


def _headers(found: Any) -> list[tuple[Any, Any]]:
    if isinstance(found, dict):
        return list(found.items())
    return list(zip(found[::2], found[1::2], strict=False)) if isinstance(found, list) else []

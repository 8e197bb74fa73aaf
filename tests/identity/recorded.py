"""Files of events, and the commands that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from click.testing import CliRunner, Result

from cartstream.cli import cli
from tests.identity.people import HASH_KEY, Event


def written(path: Path, *events: Event) -> Path:
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    return path


def identity(*words: object, **environment: str) -> Result:
    variables = {"COLUMNS": "160", "CARTSTREAM_HASH_KEY": HASH_KEY, **environment}
    return CliRunner().invoke(cli, ["identity", *map(str, words)], env=variables)


def json_of(answer: Result) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in answer.stdout.splitlines()]

"""Encodings that were written once and must be readable for ever: `golden/states-<n>.json`, one file for each layout there has been.

`python -m tests.properties.golden` records today's layouts beside the older ones, if they differ from the last recorded. Do that
when a struct has grown on purpose, at its end and with a default.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from tests.properties.shapes import STORED, full, layout, named

FOLDER = Path(__file__).parent / "golden"


def recorded() -> list[tuple[int, dict[str, Any]]]:
    """(number, what was recorded), the latest last."""
    found = {int(path.stem.rpartition("-")[2]): json.loads(path.read_text()) for path in FOLDER.glob("states-*.json")}
    return sorted(found.items())


def layouts() -> dict[str, dict[str, list[str]]]:
    return {name: layout(kind) for name, kind in STORED.items()}


def record() -> dict[str, Any]:
    entries = {}
    for name, kind in STORED.items():
        value = full(kind)
        entries[name] = {"layout": layout(kind), "encoding": msgspec.msgpack.encode(value).hex(), "value": named(value)}
    return entries


def main() -> None:
    before = recorded()
    if before and {name: entry["layout"] for name, entry in before[-1][1].items()} == layouts():
        return
    number = before[-1][0] + 1 if before else 1
    (FOLDER / f"states-{number}.json").write_text(json.dumps(record(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

"""A recorded clickstream with an erasure and an unlink in it, replayed as a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from cartstream.events.adapters import segment
from cartstream.replay.run import Replay
from tests.identity.people import HASH_KEY
from tests.pipeline import test_erasure, test_unlinking
from tests.pipeline.shop import HOUR, MINUTE, Event, event

CART = test_erasure.CART
AGAIN = (
    event("tablet", 2 * MINUTE, "identify", "ann", email="ann@example.test", consent={"email": True}),
    event("tablet", 3 * MINUTE, "Product Added", **CART),
)
ERASED = [*test_erasure.ANN, test_erasure.erase("user_id:ann", MINUTE, "phone", "laptop"), *AGAIN]
UNLINKED = [*test_unlinking.EVENTS, test_unlinking.unlink(MINUTE)]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are signed with it."""
    monkeypatch.setenv("CARTSTREAM_HASH_KEY", HASH_KEY)


def replayed(out: Path, story: Iterable[Event], partitions: int) -> dict[str, list[dict[str, Any]]]:
    out.mkdir()
    recorded = out / "in.txt"
    recorded.write_bytes(b"".join(raw + b"\n" for _, _, raw in sorted(story, key=lambda one: one[0])))
    with Replay(out, partitions) as replay:
        replay.play(segment.read(recorded), 8 * HOUR)
    return {path.stem: [orjson.loads(line) for line in path.read_bytes().splitlines()] for path in out.glob("*.jsonl")}


@pytest.mark.parametrize("partitions", [1, 4])
def test_a_replay_forgets_whom_it_was_told_to(tmp_path: Path, partitions: int) -> None:
    found = replayed(tmp_path / "out", ERASED, partitions)
    assert [command["customer_id"] for command in found["commands"]] == _owners(found, "tablet")
    assert sum({"type": "user_id", "value": "ann"} in customer["identifiers"] for customer in found["customers"]) == 1

    before = replayed(tmp_path / "before", [one for one in ERASED if one[1]], partitions)
    assert _owners(before, "tablet") == _owners(before, "phone") != _owners(found, "tablet")


@pytest.mark.parametrize("partitions", [1, 4])
def test_a_replay_takes_a_link_out_where_it_was_taken_out(tmp_path: Path, partitions: int) -> None:
    found = replayed(tmp_path / "out", UNLINKED, partitions)
    assert found["commands"] == []
    assert _owners(found, "a") != _owners(found, "b")

    before = replayed(tmp_path / "before", [one for one in UNLINKED if one[1]], partitions)
    assert [command["customer_id"] for command in before["commands"]] == _owners(before, "a") == _owners(before, "b")


def _owners(found: dict[str, list[dict[str, Any]]], device: str) -> list[str]:
    return [customer["customer_id"] for customer in found["customers"] if device in customer["devices"]]

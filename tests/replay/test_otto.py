"""OTTO's sample through the whole pipeline, against what its lines say by themselves."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from cartstream.events.adapters import read
from cartstream.events.times import HOUR, MINUTE
from cartstream.replay.run import Replay

SAMPLE = Path(os.environ.get("CARTSTREAM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "otto_train_sample.jsonl"


def visits(times: list[int]) -> int:
    """More than thirty minutes without an event begin another; none is longer than a day here."""
    return 1 + sum(later - earlier > 30 * MINUTE for earlier, later in pairwise(times))


def test_ottos_sample_replays_to_the_visits_and_orders_that_it_has(tmp_path: Path) -> None:
    if not SAMPLE.is_file():
        pytest.skip(f"{SAMPLE} is not there: set CARTSTREAM_DATA to the folder of the field data")
    visitors: list[dict[str, Any]] = [orjson.loads(line) for line in SAMPLE.read_bytes().splitlines()]
    with Replay(tmp_path) as replay:
        replay.play(read(SAMPLE), settle_ms=48 * HOUR)
    sessions = [orjson.loads(line) for line in (tmp_path / "sessions.jsonl").read_bytes().splitlines()]

    assert replay.counts["refused"] == 0
    assert {
        visitor: sum(session["device_id"] == visitor for session in sessions) for visitor in {session["device_id"] for session in sessions}
    } == {f"otto-{visitor['session']}": visits([event["ts"] for event in visitor["events"]]) for visitor in visitors}
    told = {(f"otto-{visitor['session']}", event["ts"]) for visitor in visitors for event in visitor["events"] if event["type"] == "orders"}
    assert sum(session["orders"] for session in sessions) == len(told)
    apart = sum(event["type"] != "orders" for visitor in visitors for event in visitor["events"])
    assert sum(session["events"] for session in sessions) == replay.counts["events"] == apart + len(told)

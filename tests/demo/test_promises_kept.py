"""Two accounts of the same stories, made independently: the pipeline's commands, and what the journeys promise to a shopper."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from cartstream.demo.shoppers import crowd
from cartstream.events.times import DAY, MINUTE, parse_iso
from cartstream.fakes.push import subscription
from cartstream.replay.run import Replay

SHOPPERS = 300
SUBSCRIPTIONS = [subscription("http://127.0.0.1:1", f"sub{n}") for n in range(SHOPPERS)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_pipeline_commands_exactly_the_promised_messages_at_their_times(tmp_path: Path, seed: int) -> None:
    people = crowd(seed, SHOPPERS, SUBSCRIPTIONS, 20 * MINUTE)
    with Replay(tmp_path, partitions=4) as replay:
        replay.play(people.events, 2 * DAY)
    lines = (tmp_path / "commands.jsonl").read_text().splitlines()
    commanded = Counter((c["journey"], c["step"], c["channel"], parse_iso(c["at"])) for c in map(json.loads, lines))

    assert commanded == Counter((e.journey, e.step, e.channel, e.due) for e in people.expected)

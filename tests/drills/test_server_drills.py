"""The drills of Redis, Kafka and the network between, in their short form."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.drills.conftest import Outcome
from tests.support import Missing


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name",
    ["redis-restart", "redis-lost-tail", "redis-cluster", "disk-full", "broker-restart", "brokers-3", "network", "retention"],
)
def test_every_message_comes_once_whatever_happens_to_the_servers(outcomes: Mapping[str, Outcome], name: str) -> None:
    try:
        line, kept = outcomes[name].result()
    except Missing as missing:
        pytest.skip(str(missing))
    assert kept, json.dumps(line)

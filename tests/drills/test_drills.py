"""The drills of processes, time and providers, in their short form."""

from __future__ import annotations

import json

import pytest

from tests.drills.drill import Ground
from tests.drills.registry import DRILLS
from tests.support import Missing

SEED = 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name",
    ["kill", "zombie", "rolling", "rolling-static", "downtime", "last-shopper", "provider", "poison"],
)
def test_every_message_comes_once_whatever_happens_to_the_services(ground: Ground, name: str) -> None:
    try:
        line, kept = DRILLS[name].run(ground, SEED, short=True)
    except Missing as missing:
        pytest.skip(str(missing))
    assert kept, json.dumps(line)

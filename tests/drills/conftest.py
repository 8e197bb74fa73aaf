"""Drills in their short form. The processes' and the servers' go side by side, each lane on ground of its own: a course mostly waits.

A lane's ground is a Redis, providers, and one undisturbed course a traffic. The broker is shared; who kills one brings it along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.drills.drill import Ground, Line
from tests.drills.registry import DRILLS
from tests.drills.surroundings import standing
from tests.support import RealKafka

SEED = 1
Outcome = Future[tuple[Line, bool]]


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, kafka: RealKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Outcome]]:
    """By name, every drill that the session's tests are to judge: under way, or waiting for those before it in its lane."""
    with ExitStack() as stack:
        found: dict[str, Outcome] = {}
        for module, names in _lanes(request.session.items).items():
            out = tmp_path_factory.mktemp(module)
            ground = Ground(stack.enter_context(standing(kafka, out)), out)
            lane = stack.enter_context(_lane())
            found |= {name: lane.submit(DRILLS[name].run, ground, SEED, short=True) for name in names}
        yield found


def _lanes(items: list[pytest.Item]) -> dict[str, list[str]]:
    """The names of drills by the module whose tests ask for them."""
    lanes: dict[str, list[str]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and "outcomes" in item.fixturenames:
            lanes.setdefault(item.path.stem, []).append(str(item.callspec.params["name"]))
    return lanes


@contextmanager
def _lane() -> Iterator[ThreadPoolExecutor]:
    """One drill after the other. What has not begun at the end of the block never does."""
    lane = ThreadPoolExecutor(1)
    try:
        yield lane
    finally:
        lane.shutdown(cancel_futures=True)

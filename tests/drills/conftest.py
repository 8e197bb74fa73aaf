"""The ground that the short forms of all drills share: one broker, one set of providers, one undisturbed course a traffic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.drill import Ground
from tests.drills.surroundings import standing
from tests.support import RealKafka


@pytest.fixture(scope="session")
def ground(kafka: RealKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    out: Path = tmp_path_factory.mktemp("drills")
    with standing(kafka, out) as surroundings:
        yield Ground(surroundings, out)

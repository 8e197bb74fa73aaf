"""The long run takes longer than a test may otherwise."""

from __future__ import annotations

import pytest

from tests.properties.effort import LONG

LONG_TIMEOUT_S = 3_600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if LONG and "properties" in item.path.parts:
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))

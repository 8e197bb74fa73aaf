"""How many examples a property is tried on: few in `make test`, many times as many with `CARTSTREAM_PROPERTIES=long`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

LONG = os.environ.get("CARTSTREAM_PROPERTIES") == "long"
TIMES = 40


def examples(quick: int, *, steps: int = 50) -> settings:
    """`quick` examples in the short run, of up to so many steps. Neither run has a deadline: machines that test are busy."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=quick * TIMES if LONG else quick, stateful_step_count=steps, deadline=None, suppress_health_check=slow)

"""All drills, by name."""

from __future__ import annotations

from tests.drills.broker_faults import BROKER_FAULTS
from tests.drills.drill import Drill
from tests.drills.kill import KILL
from tests.drills.network_faults import NETWORK
from tests.drills.redis_faults import REDIS_FAULTS

DRILLS: dict[str, Drill] = {drill.name: drill for drill in (KILL, *REDIS_FAULTS, *BROKER_FAULTS, NETWORK)}
